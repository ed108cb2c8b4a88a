//! Several actions as one: all of them, or none that can be undone.

use super::{Driver, DriverError};
use crate::act::{Action, Hit, ServerVerb, WayFaults};
use crate::config::{ServerId, Way};
use crate::time::Timestamp;

/// What was done to a herd, in order.
#[derive(Debug)]
pub struct Performed {
    /// When each action was begun, the action, and what it hit.
    pub done: Vec<(Timestamp, Action, Hit)>,
    /// Why an action failed. What was done before it is undone, and stands in `done` with what undid it.
    pub error: Option<DriverError>,
}

/// Applies actions in order.
///
/// All actions are checked before the first one is applied. If one fails all the same, those before it are undone, the last
/// one first, to what stood before. A server that was ended cannot get its memory back and stays as it is.
pub(super) async fn perform<D: Driver>(driver: &mut D, actions: Vec<Action>) -> Performed {
    let mut done = Vec::with_capacity(actions.len());
    if let Some(error) = actions.iter().find_map(|action| driver.check(action).err()) {
        return Performed { done, error: Some(error) };
    }
    // What a single action fails at leaves nothing to undo.
    let undone = actions.len().saturating_sub(1);
    let before: Vec<_> = actions[..undone].iter().map(|action| Before::of(driver, action)).collect();
    for action in actions {
        let at = driver.now();
        match driver.apply(action.clone()).await {
            Ok(hit) => done.push((at, action, hit)),
            Err(error) => {
                for place in (0..done.len()).rev() {
                    for action in before[place].undo(driver, &done[place].1) {
                        let at = driver.now();
                        // What undoes an action needs no port and no link that the action did not have.
                        if let Ok(hit) = driver.apply(action.clone()).await {
                            done.push((at, action, hit));
                        }
                    }
                }
                return Performed { done, error: Some(error) };
            }
        }
    }
    Performed { done, error: None }
}

/// How the target of an action was before all of them.
#[derive(Debug, Clone, Copy)]
enum Before {
    Way(Way, WayFaults),
    Server {
        server: ServerId,
        was_up: bool,
        was_paused: bool,
        clock: i64,
    },
    /// What a client says cannot be taken back.
    Client,
}

impl Before {
    fn of(driver: &impl Driver, action: &Action) -> Self {
        match *action {
            Action::Way(way, _) => Self::Way(way, driver.faults(way)),
            Action::Server(server, _) => Self::Server {
                server,
                was_up: driver.port(server).is_some(),
                was_paused: driver.is_paused(server),
                clock: driver.clock_offset(server),
            },
            Action::Send { .. } | Action::Close(_) => Self::Client,
        }
    }

    /// Returns the actions that undo `action`. A server that was ended stays so: its memory cannot come back.
    fn undo(self, driver: &impl Driver, action: &Action) -> Vec<Action> {
        match (self, action) {
            (Self::Way(way, before), _) => {
                driver.faults(way).back_to(before).into_iter().map(|verb| verb.on(way)).collect()
            }
            (Self::Server { server, was_up, was_paused, clock }, Action::Server(_, verb)) => {
                let undo = match verb {
                    ServerVerb::Start if !was_up => Some(ServerVerb::Kill),
                    ServerVerb::Pause if was_up && !was_paused => Some(ServerVerb::Resume),
                    ServerVerb::Resume if was_paused => Some(ServerVerb::Pause),
                    ServerVerb::Clock(_) => Some(ServerVerb::Clock(clock)),
                    _ => None,
                };
                undo.map(|verb| verb.on(server)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}
