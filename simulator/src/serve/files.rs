//! What a board on a line needs to have to be the device that it stands for.

use crate::data::Federated;
use crate::fleet::Examples;
use crate::report::WriteError;
use siskin::data::ExampleStore;
use std::fs;
use std::path::Path;

/// Writes, for the first `devices` devices, into `folder`:
///
/// - `device-N.examples`: number of examples, features and targets of each (`u32`), then for each example its features (`f32`) and
///   targets (`u32`);
/// - `device-N.device`: seed of the run, number of the device, number of rounds (`u64`).
///
/// Little-endian. They hold a user's examples, and the seed of the randomness: for tests, as the fleet is simulated; a product has
/// its own of both.
///
/// # Errors
/// [`WriteError`] names the file.
pub fn write_device_files(
    folder: &Path,
    data: &Federated,
    devices: usize,
    seed: u64,
    rounds: u32,
) -> Result<(), WriteError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::File { path, source }
    };
    fs::create_dir_all(folder).map_err(|source| WriteError::Folder { path: folder.to_owned(), source })?;
    for device in 0..devices {
        let store = Examples::new(data, device);
        let (count, width, targets) = (store.len(), data.features_per_example(), data.targets_per_example());
        let mut bytes = Vec::new();
        for number in [count, width as u32, targets as u32] {
            bytes.extend(number.to_le_bytes());
        }
        let (mut x, mut y) = (vec![0.0; width], vec![0; targets]);
        for index in 0..count {
            data.fill_targets(device, index as usize, &mut x, &mut y);
            x.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
            y.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        }
        let path = folder.join(format!("device-{device}.examples"));
        fs::write(&path, bytes).map_err(failed(&path))?;
        let identity: Vec<u8> = [seed, device as u64, rounds.into()].into_iter().flat_map(u64::to_le_bytes).collect();
        let path = folder.join(format!("device-{device}.device"));
        fs::write(&path, identity).map_err(failed(&path))?;
    }
    Ok(())
}
