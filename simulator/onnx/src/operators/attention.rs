//! Products of two computed values: the scores and the weighted means of attention.

use crate::file::Outcome;
use crate::import::{Activation, Importer, Site};
use crate::layout::{BATCH, Factor, Layout};
use crate::network::{Feed, small};
use siskin::checkin::LayerSpec;

/// Roles of the factors of a matrix product, one for each head: `[heads, rows, columns]`.
struct Parts {
    heads: Vec<Factor>,
    rows: Vec<Factor>,
    columns: Vec<Factor>,
    /// Sizes of the leading axes' factors, the batch marked.
    lead: Vec<(bool, usize)>,
}

fn parts(layout: &Layout) -> Option<Parts> {
    let (lead, [rows, columns]) = layout.axes.split_last_chunk()?;
    let lead: Vec<Factor> = lead.concat();
    if rows.contains(&BATCH) || columns.contains(&BATCH) {
        return None;
    }
    Some(Parts {
        heads: lead.iter().copied().filter(|f| *f != BATCH).collect(),
        rows: rows.clone(),
        columns: columns.clone(),
        lead: lead.iter().map(|f| (*f == BATCH, layout.size(&[*f]))).collect(),
    })
}

const NO_ATTENTION: &str = "a product of two computed values is only known as a part of attention \
    (queries times keys, or weights times values, over the positions of a sequence)";

impl Importer<'_> {
    /// Queries times keys, or weights times values.
    pub(super) fn attention(&mut self, a: &Activation, b: &Activation, site: &Site) -> Outcome<Activation> {
        let (a_parts, b_parts) = (parts(&a.layout).ok_or(NO_ATTENTION)?, parts(&b.layout).ok_or(NO_ATTENTION)?);
        let size = |layout: &Layout, factors: &[Factor]| layout.size(factors);
        let (rows, summed) = (size(&a.layout, &a_parts.rows), size(&a.layout, &a_parts.columns));
        let columns = size(&b.layout, &b_parts.columns);
        if a_parts.lead != b_parts.lead || summed != size(&b.layout, &b_parts.rows) {
            return Err(NO_ATTENTION.into());
        }
        let heads = size(&a.layout, &a_parts.heads);
        // Rows of the first are positions either way: of queries, or of the means to come.
        let a_wanted = [[&a_parts.heads[..], &a_parts.columns].concat(), a_parts.rows.clone(), vec![]];
        let values = [[&b_parts.heads[..], &b_parts.columns].concat(), b_parts.rows.clone(), vec![]];
        let keys = [[&b_parts.heads[..], &b_parts.rows].concat(), b_parts.columns.clone(), vec![]];
        let weights = self.softmax_of(a.feed);
        if weights.is_some() && rows == summed {
            let a = self.arrange(a, a_wanted, &site.name)?;
            let b = self.arrange(b, values, &site.name)?;
            let spec = LayerSpec::Context { heads: small(heads, "a number of heads")?, causal: weights == Some(true) };
            let feed = self.network.pair(spec, a.feed, b.feed, [heads * columns, rows, 1], &site.name)?;
            return Ok(Activation::new(feed, product_layout(&a.layout, &a_parts, columns)));
        }
        if rows != columns {
            return Err(NO_ATTENTION.into());
        }
        let a = self.arrange(a, a_wanted, &site.name)?;
        let b = self.arrange(b, keys, &site.name)?;
        // A factor of the queries or keys is one of the scores.
        let ((query, by), (key, times)) = (self.factor_of(a.feed), self.factor_of(b.feed));
        let spec = LayerSpec::Scores { heads: small(heads, "a number of heads")?, scale: by * times, causal: false };
        let feed = self.network.pair(spec, query, key, [heads * columns, rows, 1], &site.name)?;
        Ok(Activation::new(feed, product_layout(&a.layout, &a_parts, columns)))
    }

    fn factor_of(&self, feed: Feed) -> (Feed, f32) {
        match self.network.layer(feed) {
            Some(&LayerSpec::Affine { scale, shift: 0.0 }) => {
                (self.network.node(feed).and_then(|n| n.inputs[0]), scale)
            }
            _ => (feed, 1.0),
        }
    }

    /// If the value is a softmax, perhaps behind a dropout: whether it is a causal one.
    fn softmax_of(&self, mut feed: Feed) -> Option<bool> {
        while let Some(LayerSpec::Dropout { .. }) = self.network.layer(feed) {
            feed = self.network.node(feed).and_then(|n| n.inputs[0]);
        }
        match self.network.layer(feed) {
            Some(&LayerSpec::Softmax { causal, .. }) => Some(causal),
            _ => None,
        }
    }
}

/// Axes of the product: those of the first, with new columns; our channels are heads and columns.
fn product_layout(a: &Layout, parts: &Parts, columns: usize) -> Layout {
    let mut layout = a.clone();
    let new = layout.new_factors(columns);
    layout.home = [[&parts.heads[..], &new].concat(), parts.rows.clone(), vec![]];
    if let Some(last) = layout.axes.last_mut() {
        *last = new;
    }
    layout
}
