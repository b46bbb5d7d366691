//! The baseline's register of four lanes against four scalars, and which register that is.

use std::vec::Vec;

use super::{bits, random};
use crate::model::kernel::registers::Four;
use crate::model::kernel::scalars::Scalars;
use crate::model::kernel::vector::{Bits, Quad};

/// Zeros, infinities, NaNs, the smallest and the largest of either sign, and ordinary numbers.
fn lanes(seed: &mut u64) -> [f32; 4] {
    const SPECIAL: [f32; 12] = [
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        f32::MAX,
        f32::MIN,
        1.0,
    ];
    core::array::from_fn(|_| match random(seed) {
        z if z >> 62 == 0 => SPECIAL[z as usize % SPECIAL.len()],
        z => ((z & 0xFF_FFFF) as f32 / 8_388_608.0 - 1.0) * 1.7,
    })
}

/// What a register makes of `x` and `y`, lane by lane.
fn operations<V: Quad>([x, y, z, w]: [[f32; 4]; 4]) -> Vec<f32> {
    let [x, y, z, w] = [x, y, z, w].map(|lanes| V::from_slice(&lanes));
    let mask = x.same(y);
    let all = [x.add(y), x.mul(y), z.axpy(x, y), z.and(mask), z.and_not(mask), V::splat(V::tree4([x, y, z, w])[0])];
    let mut out: Vec<f32> = V::tree4([x, y, z, w]).to_vec();
    for v in all {
        let mut lanes = [0.0; 4];
        v.to_slice(&mut lanes);
        out.extend(lanes);
    }
    out
}

/// Masks are all ones or all zeros, which [`bits`] would take for one NaN or another.
fn masks<V: Bits>(x: [f32; 4], y: [f32; 4]) -> [u32; 4] {
    let mut lanes = [0.0; 4];
    V::from_slice(&x).same(V::from_slice(&y)).to_slice(&mut lanes);
    lanes.map(f32::to_bits)
}

#[test]
fn the_register_does_what_four_scalars_do() {
    let mut seed = 3;
    for _ in 0..20_000 {
        let mut of: [[f32; 4]; 4] = core::array::from_fn(|_| lanes(&mut seed));
        // Equal lanes are rare by chance.
        if random(&mut seed) >> 63 == 0 {
            of[1][2] = of[0][2];
        }
        assert_eq!(bits(&operations::<Four>(of)), bits(&operations::<Scalars>(of)), "{of:?}");
        assert_eq!(masks::<Four>(of[0], of[1]), masks::<Scalars>(of[0], of[1]), "{of:?}");
    }
}

/// `tests/run aarch64` looks for this test by its name: a run in which it is missing was not on AArch64.
#[cfg(target_arch = "aarch64")]
#[test]
fn on_aarch64_the_registers_are_those_of_neon() {
    use crate::model::kernel::vector::{Isa, Portable};
    use core::any::TypeId;
    use core::arch::aarch64::float32x4_t;
    assert!(cfg!(target_feature = "neon") && cfg!(target_pointer_width = "64"));
    assert!(std::arch::is_aarch64_feature_detected!("neon"), "this CPU has none");
    const { assert!(Portable::VECTORS) };
    assert_eq!(TypeId::of::<<Portable as Isa>::V4>(), TypeId::of::<Four>());
    assert_ne!(TypeId::of::<Four>(), TypeId::of::<Scalars>());
    assert_eq!((size_of::<Four>(), align_of::<Four>()), (size_of::<float32x4_t>(), align_of::<float32x4_t>()));
    assert_eq!(core::any::type_name::<Four>(), "siskin::model::kernel::registers::Four");
}
