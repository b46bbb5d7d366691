//! Instructions that a sparse layer takes for each multiply-add, forward, backward, and backward with the update of the weights
//! by SGD.
//!
//! The emulator must run with `-icount shift=6,sleep=off`: an instruction then takes 64 ns of virtual time, in which SysTick,
//! at the 25 MHz of Arm's FPGA images, counts 1.6 times. The counts are exact to an instruction and the same in every run.
//! They are not cycles: the emulator knows no pipeline, no wait states of flash, no cache.

use crate::text::{Line, leave};
use crate::{Ram, Target};
use siskin::checkin::{LayerSpec, Loss, ModelSpec, Path, Storage, Training};
use siskin::model::Graph;
use siskin::model::kernel::{Pattern, csr_forward, csr_gradients};
use siskin::optim::{Gradients, Learner, Local};

const INPUTS: usize = 128;
const OUTPUTS: usize = 128;
/// A fifth of the weights.
const LIVE: usize = INPUTS * OUTPUTS / 5 / OUTPUTS * OUTPUTS;
const BATCHES: [usize; 3] = [1, 4, 8];
const MOST: usize = 8;

/// The lists of a layer, its values twice, activations and their gradients.
static MEMORY: Ram<{ 4 * (OUTPUTS + 1) + (2 + 4 + 4) * LIVE + 8 * (INPUTS + OUTPUTS) * MOST + 64 }> = Ram::new();

/// Prints a line for each batch and leaves.
pub fn run(target: &Target) -> ! {
    target.say();
    match count() {
        Ok(()) => leave(0),
        Err(why) => {
            Line::new().text("FAILED: ").text(why).end();
            leave(1)
        }
    }
}

fn count() -> Result<(), &'static str> {
    let storage = Storage { live: LIVE as u32, path: Path::Sparse };
    let dense = LayerSpec::Dense { outputs: OUTPUTS as u16, bias: false, weights: storage };
    let loss = Loss::SoftmaxCrossEntropy;
    let mut model = ModelSpec { input: [INPUTS as u16, 1, 1], layers: Default::default(), loss };
    model.layers.push(dense.into()).map_err(|_| "too many layers")?;
    let graph = Graph::new(&model).map_err(|_| "the layers do not fit together")?;
    let tensor = graph.tensors.first().ok_or("a layer without weights")?;
    let mut rest = MEMORY.take();
    let row_ptrs = take::<u32>(&mut rest, OUTPUTS + 1);
    let columns = take::<u16>(&mut rest, LIVE);
    let (values, global) = (take::<f32>(&mut rest, LIVE), take::<f32>(&mut rest, LIVE));
    let (x, dx) = (take::<f32>(&mut rest, INPUTS * MOST), take::<f32>(&mut rest, INPUTS * MOST));
    let (y, dy) = (take::<f32>(&mut rest, OUTPUTS * MOST), take::<f32>(&mut rest, OUTPUTS * MOST));

    // As many weights in each row, at distances that change from row to row.
    let per_row = LIVE / OUTPUTS;
    row_ptrs.iter_mut().enumerate().for_each(|(i, p)| *p = (i * per_row) as u32);
    columns.iter_mut().enumerate().for_each(|(i, c)| *c = (i % per_row * 5 + i / per_row % 4) as u16);
    values.iter_mut().enumerate().for_each(|(i, v)| *v = ((i * 37 % 64) as f32 - 31.5) / 256.0);
    global.copy_from_slice(values);
    x.iter_mut().chain(&mut *dy).enumerate().for_each(|(i, x)| *x = (i % 7) as f32 * 0.125);

    let overhead = instructions(|| ());
    // 2,000, give or take how the reading of the counter is compiled.
    let known = instructions(|| {
        // SAFETY: counts a register down.
        unsafe { core::arch::asm!("2: subs {n}, {n}, #1", "bne 2b", n = inout(reg) 1000 => _, options(nomem, nostack)) }
    }) - overhead;
    if !(1980..2020).contains(&known) {
        return Err("the emulator does not count instructions: -icount shift=6,sleep=off");
    }
    let training = Training::sgd(1, 1, 0.001);
    let pattern = Pattern { row_ptr: row_ptrs, cols: columns };
    for batch in BATCHES {
        let (x, dx) = (&x[..INPUTS * batch], &mut dx[..INPUTS * batch]);
        let (y, dy) = (&mut y[..OUTPUTS * batch], &dy[..OUTPUTS * batch]);
        let of_forward = instructions(|| csr_forward(pattern, values, &[], x, y, INPUTS, OUTPUTS, batch));
        let mut learner = Gradients { values, gradients: global };
        let of_gradients = instructions(|| {
            csr_gradients(pattern, dy, x, dx, INPUTS, OUTPUTS, batch, &mut learner.sink(tensor));
        });
        let mut learner = Local::new(&graph, &training, (0, 1), (values, global, &mut []));
        let of_step = instructions(|| {
            csr_gradients(pattern, dy, x, dx, INPUTS, OUTPUTS, batch, &mut learner.sink(tensor));
        });
        let macs = LIVE * batch;
        let line = Line::new().text("batch ").number(batch).text(": forward ");
        let line = hundredths(line, of_forward - overhead, macs).text(", backward ");
        let line = hundredths(line, of_gradients - overhead, 2 * macs).text(", backward and update ");
        hundredths(line, of_step - overhead, 2 * macs).end();
    }
    Ok(())
}

/// The quotient to two digits, rounded up.
fn hundredths(line: Line, instructions: u32, macs: usize) -> Line {
    let all = (instructions as usize * 100).div_ceil(macs);
    line.number(all / 100).text(".").number(all / 10 % 10).number(all % 10)
}

fn take<T: bytemuck::Pod>(rest: &mut &'static mut [u8], count: usize) -> &'static mut [T] {
    let (bytes, after) = core::mem::take(rest).split_at_mut((count * size_of::<T>()).next_multiple_of(8));
    *rest = after;
    bytemuck::cast_slice_mut(&mut bytes[..count * size_of::<T>()])
}

/// Instructions of `work`: SysTick counts down 24 bits, 1.6 times for each.
fn instructions(work: impl FnOnce()) -> u32 {
    const CONTROL: *mut u32 = 0xe000_e010 as *mut u32;
    const RELOAD: *mut u32 = 0xe000_e014 as *mut u32;
    const CURRENT: *mut u32 = 0xe000_e018 as *mut u32;
    // SAFETY: the registers of SysTick (Armv7-M Architecture Reference Manual, B3.3), which nothing else uses.
    unsafe {
        RELOAD.write_volatile(0xff_ffff);
        CURRENT.write_volatile(0);
        // The processor's clock, no interrupt, on.
        CONTROL.write_volatile(0b101);
        let before = CURRENT.read_volatile();
        work();
        let after = CURRENT.read_volatile();
        // Bit 16: it has been at 0 since.
        let wrapped = CONTROL.read_volatile() & 1 << 16 != 0;
        CONTROL.write_volatile(0);
        if wrapped && after > before {
            crate::fail("more instructions than SysTick counts");
        }
        (before.wrapping_sub(after) & 0xff_ffff) * 5 / 8
    }
}
