//! The faults that stay: what stands on a way, what takes it back, and how half a verb is undone.

use std::mem;

use serde::{Deserialize, Serialize};

use super::{Share, WayVerb};
use crate::config::Slowness;

/// What was done to a way and not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WayFaults {
    /// Dials are refused.
    pub cut: bool,
    /// Lines wait.
    pub held: bool,
    /// Everything sent is lost in silence.
    pub half_open: bool,
    /// Lines are delayed.
    pub slow: Option<Slowness>,
    /// A share of the lines is lost.
    pub lose: Option<Share>,
}

impl WayFaults {
    /// Does `verb` to the way. Returns `true` if that changed anything that stays.
    pub fn apply(&mut self, verb: WayVerb) -> bool {
        match verb {
            WayVerb::Cut => !mem::replace(&mut self.cut, true),
            WayVerb::Hold => !mem::replace(&mut self.held, true),
            WayVerb::Release => mem::replace(&mut self.held, false),
            WayVerb::HalfOpen => !mem::replace(&mut self.half_open, true),
            WayVerb::Slow(slowness) => {
                let slow = Some(slowness).filter(|slowness| slowness.slows());
                mem::replace(&mut self.slow, slow) != slow
            }
            WayVerb::Lose(share) => self.lose.replace(share) != Some(share),
            WayVerb::Heal => {
                let heals = self.cut || self.half_open || self.slow.is_some() || self.lose.is_some();
                if heals {
                    *self = Self { held: self.held, ..Self::default() };
                }
                heals
            }
            WayVerb::Reset { .. } | WayVerb::Drop { .. } | WayVerb::Duplicate { .. } => false,
        }
    }

    /// Returns `true` if nothing stands on the way.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns `true` if `verb` takes `fault` back or puts another amount in its place.
    pub fn ends(verb: WayVerb, fault: WayVerb) -> bool {
        match verb {
            WayVerb::Heal | WayVerb::Release => fault.mended_by() == Some(verb),
            WayVerb::Slow(_) => matches!(fault, WayVerb::Slow(_)),
            WayVerb::Lose(_) => matches!(fault, WayVerb::Lose(_)),
            _ => false,
        }
    }

    /// Returns the verbs that bring these faults back to what stood `before`.
    pub fn back_to(self, before: Self) -> Vec<WayVerb> {
        if self == before {
            return Vec::new();
        }
        let mut now = self;
        let mut verbs = Vec::new();
        let heals = (self.cut && !before.cut)
            || (self.half_open && !before.half_open)
            || (self.slow.is_some() && before.slow.is_none())
            || (self.lose.is_some() && before.lose.is_none());
        let wanted = [
            (heals, WayVerb::Heal),
            (self.held && !before.held, WayVerb::Release),
            (before.held, WayVerb::Hold),
            (before.cut, WayVerb::Cut),
            (before.half_open, WayVerb::HalfOpen),
        ];
        let amounts = [before.slow.map(WayVerb::Slow), before.lose.map(WayVerb::Lose)];
        let wanted = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, verb)| verb);
        for verb in wanted.chain(amounts.into_iter().flatten()) {
            if now.apply(verb) {
                verbs.push(verb);
            }
        }
        debug_assert_eq!(now, before, "what stood before stands again");
        verbs
    }

    /// Returns `true` if the way joins its servers: lines pass, though some may be late or lost.
    pub fn is_passable(self) -> bool {
        !(self.cut || self.held || self.half_open)
    }

    /// Returns what the way is because of its faults: `cut`, `held`.
    pub fn states(self) -> Vec<&'static str> {
        let faults = [
            self.cut.then_some(WayVerb::Cut),
            self.held.then_some(WayVerb::Hold),
            self.slow.map(WayVerb::Slow),
            self.lose.map(WayVerb::Lose),
            self.half_open.then_some(WayVerb::HalfOpen),
        ];
        faults.into_iter().flatten().filter_map(|fault| fault.spec().state).collect()
    }
}

impl WayVerb {
    /// Returns the verb that takes this one back, or `None` if it happens once.
    pub fn mended_by(self) -> Option<Self> {
        match self {
            Self::Cut | Self::Slow(_) | Self::Lose(_) | Self::HalfOpen => Some(Self::Heal),
            Self::Hold => Some(Self::Release),
            Self::Heal | Self::Release | Self::Reset { .. } | Self::Drop { .. } | Self::Duplicate { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fault_stands_until_it_is_taken_back() {
        let mut faults = WayFaults::default();
        assert!(faults.apply(WayVerb::Cut) && !faults.apply(WayVerb::Cut));
        assert!(faults.apply(WayVerb::Hold) && faults.apply(WayVerb::Heal));
        assert_eq!(faults.states(), ["held"]);
        assert!(faults.apply(WayVerb::Release) && !faults.apply(WayVerb::Release));
        assert!(faults.is_none());
    }

    fn verbs() -> impl Strategy<Value = Vec<WayVerb>> {
        proptest::collection::vec(proptest::sample::select(WayVerb::ALL.to_vec()), 0..6)
    }

    proptest! {
        #[test]
        fn what_stood_before_stands_again_after_an_undo(first in verbs(), then in verbs()) {
            let mut before = WayFaults::default();
            for verb in first {
                before.apply(verb);
            }
            let mut now = before;
            for verb in then {
                now.apply(verb);
            }
            for verb in now.back_to(before) {
                prop_assert!(now.apply(verb));
            }
            prop_assert_eq!(now, before);
        }

        #[test]
        fn a_verb_ends_the_faults_that_are_gone_after_it(fault in 0..10_usize, verb in 0..10_usize) {
            let (fault, verb) = (WayVerb::ALL[fault], WayVerb::ALL[verb]);
            let mut faults = WayFaults::default();
            let stays = faults.apply(fault);
            let before = faults;
            faults.apply(verb);
            if stays && matches!(verb, WayVerb::Heal | WayVerb::Release) {
                prop_assert_eq!(WayFaults::ends(verb, fault), faults != before);
            }
        }
    }
}
