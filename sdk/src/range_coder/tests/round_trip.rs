use super::*;

#[test]
fn small() {
    for symbols in [vec![0; 5], vec![1, 0, -3, 0, 0], vec![16_777_215, -16_777_215, 0, 0, 15]] {
        let tensors = [Support::Dense { rows: 1, cols: 5 }];
        let bytes = encoded_all(&tensors, &symbols);
        assert_eq!(decoded(&tensors, &bytes).unwrap(), symbols);
    }
}
