//! The ledgers of virtual devices, as an app would keep them in a file.

use siskin::privacy::Ledger;
use std::collections::HashMap;

/// The ledger of each device that took part where the policy bounds participation. One is a few hundred bytes; a device that was
/// never picked has none.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// Boxed: the table has spare room, which would be of ledgers.
    of: HashMap<usize, Box<Ledger>>,
    /// Virtual time at which the round opened, ms; the devices' clocks.
    pub clock_ms: u64,
}

impl Ledgers {
    /// What a device stored last; that of one which never took part, if it stored none.
    pub fn get(&self, device: usize) -> Ledger {
        self.of.get(&device).map(|ledger| Ledger::clone(ledger)).unwrap_or_default()
    }

    /// What a device stores.
    pub fn keep(&mut self, device: usize, ledger: Ledger) {
        self.of.insert(device, Box::new(ledger));
    }

    /// Devices that took part, and the most that one of them did.
    pub fn participations(&self) -> (usize, u32) {
        (self.of.len(), self.of.values().map(|ledger| ledger.participations()).max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "A virtual device that is idle costs less than 1 KiB": the ledger, its key and the table's spare room.
    #[test]
    fn a_ledger_leaves_an_idle_device_under_a_kibibyte() {
        let (entry, ledger) = (size_of::<(usize, Box<Ledger>)>(), size_of::<Ledger>());
        // The table, with a byte of its own for each place, is at least 7/16 full after it grew.
        let bytes = ledger + (entry + 1) * 16 / 7;
        assert!(ledger <= 460 && bytes <= 512, "{bytes} bytes, {ledger} of the ledger");
    }
}
