//! What was done to the ways of a herd and not taken back.
//!
//! Not here: how servers are and what they know, which the driver is asked.

use std::collections::BTreeMap;

use crate::config::Way;
use crate::driver::Action;

/// The faults that stand.
#[derive(Debug, Default)]
pub struct Standing(BTreeMap<Way, Faults>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Faults {
    cut: bool,
    held: bool,
    slow: bool,
    half_open: bool,
}

impl Standing {
    /// Takes note of an action that was applied; whether it changed what stands.
    pub fn apply(&mut self, action: &Action) -> bool {
        match *action {
            Action::Cut(way) => self.change(way, |faults| faults.cut = true),
            Action::Hold(way) => self.change(way, |faults| faults.held = true),
            Action::Release(way) => self.change(way, |faults| faults.held = false),
            Action::HalfOpen(way) => self.change(way, |faults| faults.half_open = true),
            Action::Slow(way, slowness) => {
                self.change(way, |faults| faults.slow = slowness.slows());
                true
            }
            Action::Heal(way) => self.change(way, |faults| *faults = Faults { held: faults.held, ..Faults::default() }),
            _ => false,
        }
    }

    fn change(&mut self, way: Way, change: impl FnOnce(&mut Faults)) -> bool {
        let before = self.0.get(&way).copied().unwrap_or_default();
        let mut after = before;
        change(&mut after);
        if after == Faults::default() {
            self.0.remove(&way);
        } else {
            self.0.insert(way, after);
        }
        before != after
    }

    /// Ways that do not do what the file says, and what was done to them.
    pub fn faults(&self) -> impl Iterator<Item = (Way, Vec<String>)> {
        self.0.iter().map(|(&way, faults)| (way, faults.names()))
    }
}

impl Faults {
    fn names(self) -> Vec<String> {
        let all = [(self.cut, "cut"), (self.held, "held"), (self.slow, "slow"), (self.half_open, "half-open")];
        all.into_iter().filter(|&(there, _)| there).map(|(_, name)| name.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerId;

    #[test]
    fn a_fault_stands_until_it_is_taken_back() {
        let way = Way { from: ServerId(0), to: ServerId(1) };
        let mut standing = Standing::default();
        assert!(standing.apply(&Action::Cut(way)) && !standing.apply(&Action::Cut(way)));
        assert!(standing.apply(&Action::Hold(way)) && standing.apply(&Action::Heal(way)));
        assert_eq!(standing.faults().collect::<Vec<_>>(), [(way, vec!["held".to_owned()])]);
        assert!(standing.apply(&Action::Release(way)) && !standing.apply(&Action::Release(way)));
        assert_eq!(standing.faults().count(), 0);
    }
}
