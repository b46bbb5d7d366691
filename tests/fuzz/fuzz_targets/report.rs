//! A report of any bytes, and any payload under a header that belongs: refused, or summed within the clip norm.
#![no_main]

#[path = "../../host/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "../../host/problem.rs"]
#[allow(dead_code)]
mod problem;

use libfuzzer_sys::fuzz_target;
use problem::{Profile, profiles, rng};
use siskin::checkin::Rounding;
use siskin::privacy::rotated_len;
use siskin::report::{Header, Report};
use siskin::wire::{Capabilities, Frame, PROTOCOL_VERSION, Request, Response, checksum};
use siskin_server::aggregate::NormBound;
use siskin_server::round::{Answer, Round};
use std::sync::OnceLock;

fn ask(round: &Round, request: &Request<'_>, payload: &[u8]) -> Response {
    let mut frame = vec![0; payload.len() + 256];
    let n = request.encode(payload, &mut frame).unwrap();
    let mut out = Vec::new();
    let Answer::Send(bytes, _) = round.handle(1, &frame[..n], &mut out) else { panic!("no answer") };
    let Frame::Whole { body, version, .. } = Frame::parse(bytes, usize::MAX) else { panic!("no frame") };
    Response::decode(body, version).unwrap().0
}

fuzz_target!(|bytes: &[u8]| {
    static PROFILES: OnceLock<[Profile; 6]> = OnceLock::new();
    let profiles = PROFILES.get_or_init(|| {
        let mut profiles = profiles();
        for profile in &mut profiles {
            profile.settings.min_fraction = 0.0;
        }
        let names = [
            "mlp-dense",
            "mlp-sparse-80",
            "mlp-dense-adaptive",
            "mlp-dense-signs",
            "mlp-sparse-80-dithered",
            "mlp-dense-started-optimised",
        ];
        names.map(|name| profiles.swap_remove(profiles.iter().position(|p| p.name == name).unwrap()))
    });
    let _ = Report::parse(bytes);
    let Some((first, payload)) = bytes.split_first() else { return };
    let profile = &profiles[usize::from(first % 6)];
    let mut server = profile.server(1024);
    let before = server.model().params().to_vec();
    let round = server.open().unwrap();
    let plan = round.offer.plan.clone();
    let live = round.offer.graph.live;
    let header = Header {
        plan: round.offer.fingerprint,
        round: 0,
        weight: 1,
        live: plan.symbols(round.offer.graph.live) as u32,
        step: plan.quantization.step,
        profile: plan.privacy.profile,
        payload: payload.len() as u32,
        growth: 0,
        checksum: checksum(payload),
    };
    let mut report = b"SKRP\x02".to_vec();
    report.extend(postcard::to_slice(&header, &mut [0; 128]).unwrap().iter());
    report.extend_from_slice(payload);
    let (protocol, capabilities) = (PROTOCOL_VERSION, Capabilities::ALL);
    let population = plan.population.as_str();
    let check_in = Request::CheckIn { protocol, capabilities, population, session: 1, max_frame: 4096, mask: None };
    let Response::Task { task, .. } = ask(&round, &check_in, &[]) else { panic!("no task") };
    ask(&round, &Request::Upload { task, total: report.len() as u32, offset: 0 }, &report);
    let closed = server.close(round, &mut rng(0)).unwrap();
    assert_eq!(closed.counts.accepted + closed.counts.refused, 1);
    let moved: f64 = server.model().params().iter().zip(&before).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    // Without noise, with the room for rounding.
    let bound = NormBound::of(&plan.privacy, &plan.quantization, plan.quantization.most_kept(live)).unwrap();
    // Signs are bounded in their rotated basis, which here is as many times longer.
    let longer = if plan.quantization.rounding == Rounding::Rotated { rotated_len(live) as f64 } else { 1.0 };
    // Of half a step a coordinate at the most.
    let dithered = plan.quantization.rounding == Rounding::Dithered;
    let offsets = if dithered { 0.5 * f64::from(plan.quantization.step) * (live as f64).sqrt() } else { 0.0 };
    let largest = bound.units() as f64 * bound.unit() * longer.sqrt() + offsets;
    assert!(moved.sqrt() <= largest * (1.0 + 1e-4), "{moved}");
});
