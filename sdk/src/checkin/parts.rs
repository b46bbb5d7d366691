//! What a build leaves out: parts of the sdk that come by cargo feature, and the refusal of plans that need one that is not
//! there.
//!
//! The code of a part is compiled and checked in every build; where its feature is off, the constant `here` of the part is
//! false in front of it, so that it is dead and no image has it. A plan that asks for it is refused when it is read or laid
//! out, before such a place is reached.

use super::{ClientOptimizer, Clipping, LayerSpec, Loss, Path, Plan, PlanError, Profile, Rounding, Values};

/// A part of the sdk and the feature that brings it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// True in builds that have it.
    pub(crate) here: bool,
    what: &'static str,
    feature: &'static str,
}

impl Part {
    /// Always there.
    const CORE: Self = Self { here: true, what: "", feature: "" };

    pub(super) const fn check(&self) -> Result<(), PlanError> {
        if self.here { Ok(()) } else { Err(PlanError::Feature { what: self.what, feature: self.feature }) }
    }
}

macro_rules! parts {
    ($($name:ident: $feature:literal, $what:literal;)*) => {
        $(pub(crate) const $name: Part = Part { here: cfg!(feature = $feature), what: $what, feature: $feature };)*

        /// Every part, `(feature, what it brings)`.
        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[$(($feature, $what)),*];
    };
}

parts! {
    DENSE: "dense", "loops over all weights";
    BLOCKS: "blocks", "weights in blocks";
    CONV: "conv", "convolution and pooling";
    ACTIVATIONS: "activations", "activation but relu";
    NORM: "norm", "normalisation";
    BRANCHES: "branches", "layer of two inputs or of other axes";
    EMBEDDING: "embedding", "embedding";
    RECURRENT: "recurrent", "recurrent layer";
    ATTENTION: "attention", "attention";
    LOSSES: "losses", "loss but softmax cross-entropy";
    ADAM: "adam", "Adam";
    GROWTH: "growth", "growth probe";
    CLIPPING: "clipping", "clipping but of the whole delta";
    SUBSET: "subset", "report of a part of the coordinates";
    ROTATED: "rotated", "signs of rotated deltas";
    DITHER: "dither", "subtractive dither";
    OPTIMISED: "rdo", "optimised rounding";
    STARTS: "starts", "starting probabilities of the coder";
    CODED: "coded", "decoder of models";
    DISTRIBUTED: "distributed", "shared noise";
}

impl LayerSpec {
    /// The part that has its code.
    pub(crate) const fn part(&self) -> Part {
        match self {
            Self::Dense { .. } | Self::Relu | Self::Reshape { .. } | Self::Flatten | Self::Dropout { .. } => Part::CORE,
            Self::Conv2d { .. } | Self::MaxPool(_) | Self::AveragePool { .. } | Self::GlobalAveragePool => CONV,
            Self::LeakyRelu { .. }
            | Self::Clip { .. }
            | Self::Sigmoid
            | Self::Tanh
            | Self::Gelu
            | Self::HardSwish
            | Self::LogSoftmax => ACTIVATIONS,
            Self::BatchNorm | Self::LayerNorm { .. } | Self::GroupNorm { .. } => NORM,
            Self::Embedding { .. } => EMBEDDING,
            Self::Gru { .. } | Self::Lstm { .. } => RECURRENT,
            Self::Add
            | Self::Mul
            | Self::Concat
            | Self::Affine { .. }
            | Self::Offset
            | Self::Transpose { .. }
            | Self::Last => BRANCHES,
            Self::Softmax { .. } | Self::Scores { .. } | Self::Context { .. } => ATTENTION,
        }
    }

    /// # Errors
    /// [`PlanError::Feature`] if this build has not all that the layer runs with.
    pub(crate) fn check_parts(&self) -> Result<(), PlanError> {
        self.part().check()?;
        self.storages().try_for_each(|storage| match storage.path {
            Path::Dense => DENSE.check(),
            Path::Sparse => Ok(()),
            Path::Block => BLOCKS.check(),
        })
    }
}

impl Plan {
    /// What is not of a layer.
    ///
    /// # Errors
    /// [`PlanError::Feature`].
    pub(super) fn check_parts(&self) -> Result<(), PlanError> {
        let needed = [
            (LOSSES, self.model.loss != Loss::SoftmaxCrossEntropy),
            (ADAM, matches!(self.training.optimizer, ClientOptimizer::Adam { .. })),
            (GROWTH, self.upload.probe > 0),
            (CLIPPING, self.privacy.clipping != Clipping::Delta),
            (SUBSET, self.quantization.keep != 1.0 && self.quantization.rounding != Rounding::Rotated),
            (ROTATED, self.quantization.rounding == Rounding::Rotated),
            (DITHER, self.quantization.rounding == Rounding::Dithered),
            (OPTIMISED, matches!(self.quantization.rounding, Rounding::Optimised { .. })),
            (STARTS, self.upload.start > 0),
            (CODED, self.values != Values::Floats),
            (DISTRIBUTED, matches!(self.privacy.profile, Profile::Distributed(_))),
        ];
        needed.into_iter().filter(|(_, needed)| *needed).try_for_each(|(part, _)| part.check())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_feature_and_full_has_them_all() {
        let manifest = include_str!("../../Cargo.toml");
        let full = manifest.split_once("\nfull = [").unwrap().1.split_once(']').unwrap().0;
        for (feature, what) in ALL {
            assert!(manifest.contains(&std::format!("\n{feature} = []")), "{feature}");
            assert!(full.contains(&std::format!("\"{feature}\"")), "{feature}");
            let missing = Part { here: false, what, feature };
            assert_eq!(missing.check(), Err(PlanError::Feature { what, feature }));
        }
        assert_eq!(
            std::format!("{}", PlanError::Feature { what: "Adam", feature: "adam" }),
            "this build has no Adam: feature `adam`"
        );
    }
}
