//! A round after the mask moved, for a device that kept the masks of the one before.

use crate::device::{Lent, Line, MANY_POLLS};
use crate::problem::{Profile, chain, config, dense, pruned, rng, settings};
use siskin::checkin::{KeptMask, LayerSpec, ModelSpec};
use siskin::session::Session;
use siskin::wire::{Capabilities, Frame, PROTOCOL_VERSION, Request, Response};
use siskin_server::round::{Algorithm, Answer, Pruning, Round, Server, Settings};

/// 64 - 48 - 4: large enough that changes of its masks are shorter than the masks.
pub(crate) fn wide() -> ModelSpec {
    chain([64, 1, 1], &[dense(48), LayerSpec::Relu, dense(4)])
}

/// Masks that move a little after every round.
pub(crate) fn moving(algorithm: Algorithm, sparsity: f32, crossover: f32) -> Settings {
    let settings = pruned(settings(), sparsity, crossover);
    Settings { pruning: Pruning { algorithm, end: 8, drop_fraction: 0.05, ..settings.pruning }, ..settings }
}

pub(crate) struct Moved {
    pub(crate) profile: Profile,
    pub(crate) server: Server,
    pub(crate) round: Round,
    /// What a device kept of the round before.
    pub(crate) kept: Vec<u8>,
    /// The checkpoint as what changed since, as it travels.
    pub(crate) changes: Vec<u8>,
}

impl Moved {
    pub(crate) fn new(max_frame: usize) -> Self {
        Self::of(moving(Algorithm::Set, 0.9, 0.0), max_frame)
    }

    /// The same where what changed in the masks is coded, as the values are.
    pub(crate) fn coded(max_frame: usize) -> Self {
        Self::of(Settings { value_step: 0.05, ..moving(Algorithm::Set, 0.9, 0.0) }, max_frame)
    }

    pub(crate) fn of(settings: Settings, max_frame: usize) -> Self {
        let profile = Profile { name: "wide-set-90", architecture: wide(), settings };
        let mut server = profile.server(max_frame);
        let round = server.open().unwrap();
        let mut kept = Vec::new();
        for device in 0..4 {
            let mut lent = Lent::for_plan(&round.offer.plan, max_frame);
            let mut session = Session::new(lent.bytes(), config(max_frame), &mut rng(device)).unwrap();
            let mut line = Line::new(&round, usize::MAX);
            let ended = (0..MANY_POLLS).find_map(|_| line.step(&mut session, &mut profile.examples(device).store()));
            assert!(ended.is_some(), "the session hangs");
            kept = vec![0; session.kept_mask_len().unwrap()];
            session.keep_mask(&mut kept).unwrap();
        }
        server.close(round, &mut rng(0)).unwrap();
        let round = server.open().unwrap();
        let changes = fetched(&round, KeptMask::parse(&kept).unwrap().fingerprint());
        Self { profile, server, round, kept, changes }
    }

    /// Fingerprint of the masks that were kept.
    pub(crate) fn base(&self) -> u32 {
        KeptMask::parse(&self.kept).unwrap().fingerprint()
    }
}

fn answer(round: &Round, request: &Request<'_>) -> (Response, Vec<u8>) {
    let (mut frame, mut out) = ([0; 200], Vec::new());
    let n = request.encode(&[], &mut frame).unwrap();
    let Answer::Send(answer, _) = round.handle(1, &frame[..n], &mut out) else { panic!("no answer") };
    let Frame::Whole { body, version, .. } = Frame::parse(answer, 4096) else { panic!("no frame") };
    let (response, payload) = Response::decode(body, version).unwrap();
    (response, payload.to_vec())
}

/// The checkpoint as the server sends it to a device that has these masks.
fn fetched(round: &Round, mask: u32) -> Vec<u8> {
    let (protocol, capabilities, population) = (PROTOCOL_VERSION, Capabilities::ALL, crate::problem::POPULATION);
    let base = Some(mask);
    let request = Request::CheckIn { protocol, capabilities, population, session: 9, max_frame: 4096, mask: base };
    let (Response::Task { task, checkpoint, base: form, .. }, _) = answer(round, &request) else { panic!("no task") };
    assert_eq!(form, base);
    let mut bytes = Vec::new();
    while bytes.len() < checkpoint as usize {
        let offset = bytes.len() as u32;
        let request = Request::Fetch { task, base, offset, max_frame: 300 };
        let (Response::Piece { base: of, offset: at, .. }, piece) = answer(round, &request) else { panic!("no piece") };
        assert_eq!((of, at), (base, offset));
        bytes.extend_from_slice(&piece);
    }
    bytes
}
