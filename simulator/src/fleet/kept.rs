//! The masks that virtual devices keep from round to round, as an app would in a file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What each device of the fleet kept. Devices with the same masks share the bytes: it costs a word or two for each device that
/// has taken part, and the bytes once for each mask that differs.
#[derive(Debug, Default)]
pub struct KeptMasks {
    of: HashMap<usize, Arc<[u8]>>,
}

impl KeptMasks {
    /// What a device kept in the last round that it took part in.
    pub fn get(&self, device: usize) -> Option<&Arc<[u8]>> {
        self.of.get(&device)
    }

    /// Replaces what a device kept.
    pub fn keep(&mut self, device: usize, kept: Arc<[u8]>) {
        self.of.insert(device, kept);
    }
}

/// The masks that the devices of one round wrote, each once.
#[derive(Debug, Default)]
pub struct Written(Mutex<Vec<Arc<[u8]>>>);

impl Written {
    /// The shared copy of these bytes.
    pub fn share(&self, bytes: &[u8]) -> Arc<[u8]> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| ***known == *bytes) {
            return Arc::clone(known);
        }
        let new: Arc<[u8]> = bytes.into();
        all.push(Arc::clone(&new));
        new
    }

    /// Starts with what devices kept before, so that a mask which has not changed is not there twice.
    pub fn after(kept: &KeptMasks, selected: &[usize]) -> Self {
        let mut all: Vec<Arc<[u8]>> = Vec::new();
        for mask in selected.iter().filter_map(|device| kept.get(*device)) {
            if !all.iter().any(|known| Arc::ptr_eq(known, mask)) {
                all.push(Arc::clone(mask));
            }
        }
        Self(Mutex::new(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_there_once() {
        let mut kept = KeptMasks::default();
        let first = Written::default();
        kept.keep(3, first.share(&[1, 2]));
        kept.keep(5, first.share(&[1, 2]));
        let next = Written::after(&kept, &[3, 4, 5]);
        kept.keep(4, next.share(&[1, 2]));
        kept.keep(5, next.share(&[1]));
        let [a, b, c] = [3, 4, 5].map(|device| kept.get(device).expect("kept"));
        assert!(Arc::ptr_eq(a, b) && !Arc::ptr_eq(a, c));
        assert_eq!((&a[..], &c[..], kept.get(6)), (&[1, 2][..], &[1][..], None));
    }
}
