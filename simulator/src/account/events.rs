//! Any composition, from a file.

use super::assumptions::of_release;
use super::{AccountError, Statement};
use siskin_accounting::{Composition, Counted, Method, Prepared};
use std::io::Read;
use std::path::Path;

/// Longest file that is read, bytes.
const MOST: u64 = 64 << 20;

/// What the composition in a file costs.
///
/// # Errors
/// [`AccountError::File`] with the line of what is not understood, or the event that is refused.
pub fn events(path: &Path, dp_delta: f64, method: Method) -> Result<Statement, AccountError> {
    let composition = read(path)?;
    // Equal releases need one distribution, wherever they stand.
    let mut merged = Composition { adjacency: composition.adjacency, events: Vec::new() };
    for event in &composition.events {
        match merged.events.iter_mut().find(|other| other.release == event.release) {
            Some(other) if event.rounds > 0 => other.rounds = other.rounds.saturating_add(event.rounds),
            _ => merged.events.push(event.clone()),
        }
    }
    let account = merged.account_by(dp_delta, method).map_err(|error| name(path, &composition, error))?;
    let mut assumptions = Vec::new();
    for event in &merged.events {
        for assumption in of_release(&event.release, composition.adjacency) {
            let line = format!("{}: {assumption}", event.release.name());
            if !assumptions.contains(&line) {
                assumptions.push(line);
            }
        }
    }
    let fixed = "noise and rates of every event were fixed beforehand, not chosen by what earlier ones released";
    assumptions.push(fixed.to_owned());
    let parameters = serde_json::to_value(&composition).unwrap_or_default();
    Ok(Statement::of(&account, "composition", parameters, assumptions))
}

fn read(path: &Path) -> Result<Composition, AccountError> {
    let file = |message: String| AccountError::File { path: path.display().to_string(), message };
    let open = std::fs::File::open(path).map_err(|e| file(e.to_string()))?;
    let mut text = String::new();
    open.take(MOST + 1).read_to_string(&mut text).map_err(|e| file(e.to_string()))?;
    if text.len() as u64 > MOST {
        return Err(file(format!("more than {MOST} bytes")));
    }
    serde_json::from_str(&text).map_err(|e| file(e.to_string()))
}

/// Says which event is the one, by its number from 1.
fn name(path: &Path, composition: &Composition, error: siskin_accounting::Error) -> AccountError {
    let file = |message: String| AccountError::File { path: path.display().to_string(), message };
    if composition.events.is_empty() {
        return file("no events: there is nothing to account for".into());
    }
    let alone = |event: &Counted| {
        let one = Composition { adjacency: composition.adjacency, events: vec![event.clone()] };
        // A coarse grid: only what is refused matters.
        Prepared::new(&one, 0.1, Method { interval: 0.1, refine: false, accountant: None }).err()
    };
    for (index, event) in composition.events.iter().enumerate() {
        if let Some(refused) = alone(event) {
            return file(format!("event {} ({}): {refused}", index + 1, event.release.name()));
        }
    }
    file(error.to_string())
}
