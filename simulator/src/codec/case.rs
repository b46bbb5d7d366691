//! One case as JSON: symbols to bytes, or bytes to symbols, for other programs to compare with.

use super::{CodecError, Coder};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodeCase {
    codec: String,
    symbols: Vec<i32>,
    shape: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecodeCase {
    codec: String,
    bytes: String,
    shape: Vec<u32>,
    /// What an encoder says beside the bytes; not needed.
    #[serde(rename = "bits")]
    _bits: Option<u64>,
}

/// Symbols of one tensor that a case may have: more do not belong into a JSON text.
const MOST: u64 = 1 << 27;

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, CodecError> {
    // The message ends with line and column.
    serde_json::from_str(text).map_err(|e| CodecError::new("case", e.to_string().replace('\n', " ")))
}

/// One axis is a row; of more, the last one is that of the columns.
fn matrix(shape: &[u32]) -> Result<[u32; 2], CodecError> {
    let (cols, rows) = shape.split_last().ok_or_else(|| CodecError::new("shape", "it has no axes"))?;
    let rows = rows.iter().try_fold(1u32, |rows, &n| rows.checked_mul(n));
    rows.filter(|&rows| u64::from(rows) * u64::from(*cols) <= MOST)
        .map(|rows| [rows, *cols])
        .ok_or_else(|| CodecError::new("shape", format!("more than {MOST} params")))
}

/// `{"codec": .., "symbols": [..], "shape": [..]}` to `{"bytes": "hex", "bits": n}`.
///
/// # Errors
/// [`CodecError`]: the text is not exactly one case, or the symbols do not fit shape or codec.
pub fn encode_case(text: &str) -> Result<Value, CodecError> {
    let case: EncodeCase = parse(text)?;
    let coded = Coder::named(&case.codec)?.encode(&[matrix(&case.shape)?], &case.symbols)?;
    let hex: String = coded.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({ "bytes": hex, "bits": coded.bits }))
}

/// `{"codec": .., "bytes": "hex", "shape": [..]}` to `{"symbols": [..]}`.
///
/// # Errors
/// [`CodecError`]: the text is not exactly one case, or the bytes are not what the codec writes for this shape.
pub fn decode_case(text: &str) -> Result<Value, CodecError> {
    let case: DecodeCase = parse(text)?;
    let digits = case.bytes.as_bytes();
    let digit = |d: u8| (d as char).to_digit(16).map(|d| d as u8);
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect();
    let bytes = bytes.ok_or_else(|| CodecError::new("bytes", "pairs of hexadecimal digits belong here"))?;
    let symbols = Coder::named(&case.codec)?.decode(&[matrix(&case.shape)?], &bytes)?;
    Ok(json!({ "symbols": symbols }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let symbols = [0, 0, 3, -1, 0, 0, 0, 70_000, 0, 0, -2, 0];
        for (name, _) in Coder::NAMES {
            let case = json!({ "codec": name, "symbols": symbols, "shape": [3, 4] });
            let coded = encode_case(&case.to_string()).unwrap();
            let bits = coded["bits"].as_u64().unwrap() as usize;
            assert_eq!(coded["bytes"].as_str().unwrap().len() / 2, bits.div_ceil(8), "{name}");
            let back = json!({ "codec": name, "bytes": coded["bytes"], "bits": bits, "shape": [3, 4] });
            assert_eq!(decode_case(&back.to_string()).unwrap(), json!({ "symbols": symbols }), "{name}");
        }
        let case = json!({ "codec": "rlgamma", "symbols": [1, 0, 0, 0, -2], "shape": [5] });
        assert_eq!(encode_case(&case.to_string()).unwrap(), json!({ "bytes": "2704", "bits": 12 }));
    }

    #[test]
    fn refusals_say_where() {
        for (text, message) in [
            (r#"{"codec":"zip","symbols":[1],"shape":[1]}"#, "codec: siskin, rlgamma"),
            (r#"{"codec":"siskin","symbols":[1],"shape":[2]}"#, "shape: it has 2 params, there are 1 symbols"),
            (r#"{"codec":"rlgamma","symbols":[16777216],"shape":[1]}"#, "symbols: 16777216 at 0"),
            (r#"{"codec":"siskin","symbols":[1],"shape":[]}"#, "shape: it has no axes"),
            (r#"{"codec":"siskin","symbols":[1],"shape":[100000,100000]}"#, "shape: more than"),
            (r#"{"codec":"siskin","symbols":[1.5],"shape":[1]}"#, "case: "),
        ] {
            let error = encode_case(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for (text, message) in [
            (r#"{"codec":"siskin","bytes":"4","shape":[5]}"#, "bytes: pairs"),
            (r#"{"codec":"siskin","bytes":"2c5a5800","shape":[5]}"#, "bytes: the stream ends before byte 3"),
            (r#"{"codec":"rlgamma","bytes":"08","shape":[2]}"#, "bytes: a run ends at symbol 7"),
            (r#"{"codec":"rlrice","bytes":"","shape":[2]}"#, "bytes: there are none"),
        ] {
            let error = decode_case(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
