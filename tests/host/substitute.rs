//! Another codec's estimates in the place of reports.

use crate::device::play;
use crate::problem::{Examples, config, mlp, rng, server, settings};
use siskin::checkin::Privacy;
use siskin::report::Report;
use siskin::session::Outcome;
use siskin_server::round::{Closed, Settings, Substitute};
use std::sync::{Arc, Mutex};

type Symbols = Vec<(usize, i32)>;

/// Does `what` to every report, and remembers what there was before: payload, step, symbols.
#[derive(Debug)]
struct Stand {
    what: fn(&mut Symbols),
    seen: Arc<Mutex<Vec<(usize, f32, Symbols)>>>,
}

impl Substitute for Stand {
    fn substitute(&mut self, report: &Report<'_>, step: f32, symbols: &mut Symbols) {
        self.seen.lock().unwrap().push((report.payload.len(), step, symbols.clone()));
        (self.what)(symbols);
    }
}

/// A round of three devices; params afterwards, and how it closed.
fn round(settings: &Settings, what: Option<fn(&mut Symbols)>) -> (Vec<f32>, Closed, Vec<(usize, f32, Symbols)>) {
    let mut server = server(settings.clone(), &mlp(), 1024);
    let mut round = server.open().unwrap();
    let seen = Arc::default();
    if let Some(what) = what {
        round = round.with_substitute(Box::new(Stand { what, seen: Arc::clone(&seen) }));
    }
    for device in 0..3 {
        let played = play(&round, &config(1024), device, &mut Examples::new(&mlp(), device, 20).store());
        assert!(matches!(played.outcome, Outcome::Accepted | Outcome::Refused));
    }
    let closed = server.close(round, &mut rng(1)).unwrap();
    let seen = seen.lock().unwrap().clone();
    (server.model().params().to_vec(), closed, seen)
}

#[test]
fn what_stands_in_a_reports_place_is_what_is_added() {
    let settings = Settings { cohort: 3, min_fraction: 0.0, ..settings() };
    let before = server(settings.clone(), &mlp(), 1024).model().params().to_vec();
    let (plain, ..) = round(&settings, None);
    let (kept, _, seen) = round(&settings, Some(|_| ()));
    assert_eq!(kept, plain, "one that only looks changes nothing");
    assert_eq!(seen.len(), 3);
    let nonzero = |symbols: &Symbols| symbols.iter().all(|(_, q)| *q != 0) && symbols.is_sorted_by_key(|(i, _)| *i);
    assert!(seen.iter().all(|(payload, step, symbols)| {
        *payload > 0 && *step == settings.quantization.step && !symbols.is_empty() && nonzero(symbols)
    }));
    let (nothing, ..) = round(&settings, Some(Vec::clear));
    assert_eq!(nothing, before);
    let (halved, ..) = round(&settings, Some(|symbols| symbols.truncate(symbols.len() / 2)));
    assert!(halved != plain && halved != before);
}

#[test]
fn it_is_clipped_and_checked_like_a_report() {
    let settings = Settings { cohort: 3, min_fraction: 0.0, ..settings() };
    let Privacy { clip_norm, .. } = settings.privacy;
    let (_, closed, _) = round(&settings, Some(|symbols| symbols.iter_mut().for_each(|(_, q)| *q = q.signum() << 20)));
    assert_eq!((closed.counts.accepted, closed.reclipped), (3, 3));
    assert!(closed.update_norm.unwrap() <= f64::from(clip_norm) * 1.000_001);
    for bad in [
        (|symbols| symbols.push((usize::MAX, 1))) as fn(&mut Symbols),
        |symbols| symbols.reverse(),
        |symbols| symbols[0].1 = 1 << 24,
    ] {
        let (_, closed, _) = round(&settings, Some(bad));
        assert_eq!((closed.counts.accepted, closed.counts.refused), (0, 3));
    }
}
