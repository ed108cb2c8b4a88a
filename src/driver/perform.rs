//! Several actions as one: all of them, or none that can be undone.

use super::{Driver, DriverError};
use crate::act::{Action, Hit, Standing};
use crate::config::Topology;
use crate::time::Timestamp;

/// What was done to a herd, in order.
#[derive(Debug)]
pub struct Performed {
    /// When each action was begun, the action, and what it hit.
    pub done: Vec<(Timestamp, Action, Hit)>,
    /// Why an action failed. What was done before it is undone, and stands in `done` with what undid it.
    pub error: Option<DriverError>,
}

/// Applies actions in order and takes note of them in `standing`.
///
/// All actions are checked before the first one is applied. If one fails all the same, those before it are undone, the last
/// one first, to what stood before. A server that was ended cannot get its memory back and stays as it is.
pub async fn perform<D: Driver>(
    driver: &mut D,
    standing: &mut Standing,
    topology: &Topology,
    actions: Vec<Action>,
) -> Performed {
    let mut done = Vec::with_capacity(actions.len());
    if let Some(error) = actions.iter().find_map(|action| driver.check(action).err()) {
        return Performed { done, error: Some(error) };
    }
    // What a single action fails at leaves nothing to undo.
    let before = if actions.len() > 1 { standing.clone() } else { Standing::default() };
    // Of the servers that something was done to, in this order.
    let mut was_up = Vec::new();
    for action in actions {
        let at = driver.now();
        let is_up = if let Action::Server(server, _) = action { Some(driver.port(server).is_some()) } else { None };
        match driver.apply(action.clone()).await {
            Ok(hit) => {
                was_up.extend(is_up);
                standing.apply(&action);
                done.push((at, action, hit));
            }
            Err(error) => {
                for place in (0..done.len()).rev() {
                    let is_server = matches!(done[place].1, Action::Server(..));
                    let was_up = is_server && was_up.pop().expect("noted for each server");
                    for action in before.undo(standing, &done[place].1, topology, was_up) {
                        let at = driver.now();
                        // What undoes an action needs no port and no link that the action did not have.
                        if let Ok(hit) = driver.apply(action.clone()).await {
                            standing.apply(&action);
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
