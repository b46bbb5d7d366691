//! Tensors as nested JSON lists: all lists of one depth have the same length.

use super::PruneError;
use serde_json::Value;

/// Shape and values in row-major order. `at` names the place in errors.
///
/// # Errors
/// [`PruneError`]: no list, a list of another length than the first of its depth, an entry that is no finite f32.
pub(super) fn read(value: &Value, at: &str) -> Result<(Vec<usize>, Vec<f32>), PruneError> {
    let (mut shape, mut first) = (Vec::new(), Some(value));
    while let Some(Value::Array(list)) = first {
        shape.push(list.len());
        first = list.first();
    }
    if shape.is_empty() {
        return Err(PruneError::new(at, "a list of numbers belongs here"));
    }
    let mut values = Vec::new();
    collect(value, &shape, &mut at.to_owned(), &mut values)?;
    Ok((shape, values))
}

fn collect(value: &Value, shape: &[usize], at: &mut String, values: &mut Vec<f32>) -> Result<(), PruneError> {
    let Some((length, inner)) = shape.split_first() else {
        let number =
            value.as_f64().ok_or_else(|| PruneError::new(&*at, format!("{} is not a number", brief(value))))?;
        let single = number as f32;
        if !single.is_finite() {
            return Err(PruneError::new(&*at, format!("{number:e} is not a finite single-precision number")));
        }
        values.push(single);
        return Ok(());
    };
    let Value::Array(list) = value else {
        return Err(PruneError::new(&*at, format!("{} where a list of {length} belongs", brief(value))));
    };
    if list.len() != *length {
        return Err(PruneError::new(&*at, format!("a list of {} where one of {length} belongs", list.len())));
    }
    for (i, entry) in list.iter().enumerate() {
        let end = at.len();
        at.push_str(&format!("[{i}]"));
        collect(entry, inner, at, values)?;
        at.truncate(end);
    }
    Ok(())
}

/// A value as it may stand in a message of one line.
fn brief(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string().chars().take(40).collect(),
    }
}

/// The mask as lists of this shape.
pub(super) fn write(shape: &[usize], mask: &mut impl Iterator<Item = bool>) -> Value {
    match shape.split_first() {
        None => Value::from(u8::from(mask.next().unwrap_or(false))),
        Some((length, inner)) => Value::Array((0..*length).map(|_| write(inner, mask)).collect()),
    }
}
