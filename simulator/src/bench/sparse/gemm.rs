//! `matrixmultiply::sgemm`, the usual dense matrix product of Rust programs.

/// A matrix in row-major order, or the transpose of one.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Matrix<'a> {
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Self { data, rows, columns, transposed: false }
    }

    pub(super) fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }

    /// Distance of rows and of columns in `data`.
    fn strides(&self) -> (isize, isize) {
        if self.transposed { (1, self.rows as isize) } else { (self.columns as isize, 1) }
    }
}

/// `c = alpha a b + beta c`, or the same as the transpose of `b' a'`: for narrow matrices one of them can be much faster.
pub(super) fn product(alpha: f32, a: Matrix, b: Matrix, beta: f32, c: &mut [f32], swapped: bool) {
    assert!(a.columns == b.rows && c.len() == a.rows * b.columns);
    let row = b.columns as isize;
    let (a, b, (down, right)) = if swapped { (b.t(), a.t(), (1, row)) } else { (a, b, (row, 1)) };
    let ((rsa, csa), (rsb, csb)) = (a.strides(), b.strides());
    // SAFETY: `Matrix::new` has checked that the operands lie in their slices, the assertion above that the result does.
    unsafe {
        let (a_data, b_data) = (a.data.as_ptr(), b.data.as_ptr());
        let (m, k, n) = (a.rows, a.columns, b.columns);
        matrixmultiply::sgemm(m, k, n, alpha, a_data, rsa, csa, b_data, rsb, csb, beta, c.as_mut_ptr(), down, right);
    }
}

/// Plain gradient descent as a loop of its own.
pub(super) fn descend(w: &mut [f32], grad: &[f32], rate: f32) {
    for (w, g) in w.iter_mut().zip(grad) {
        *w -= rate * g;
    }
}
