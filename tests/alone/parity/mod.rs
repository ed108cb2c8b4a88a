//! Both drivers do the same with every script in which nothing depends on timing.
//!
//! A script that comes out differently is made smaller and written to a file for `herdsim run --driver both`. Alone, because a
//! process that another test starts has every listener of this one too, for the moment until it becomes another program: no server
//! can be started again then. Not here: scripts in which things happen at the same time, which may come out in several ways on real
//! sockets.

mod play;
mod script;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use play::difference;
use script::Script;

use crate::exclusively;

/// Scripts of the sample.
const SAMPLE: u64 = 400;

/// What became of a script.
enum Tried {
    /// It makes no sense, such as to kill a server twice.
    NotPlayed,
    Alike,
    Differing(Differing),
}

/// A script on which the drivers differ.
struct Differing {
    script: Script,
    how: String,
}

/// `HERDSIM_PARITY_SCRIPTS` tries as many scripts, from the number `HERDSIM_PARITY_FIRST` on.
#[test]
fn both_drivers_do_the_same_with_every_script_without_races() {
    let _alone = exclusively();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("HERDSIM_PARITY_FIRST").unwrap_or(1_u64);
    let scripts = number("HERDSIM_PARITY_SCRIPTS").unwrap_or(SAMPLE);
    let tried = search(first, scripts);
    let played = tried.iter().filter(|tried| !matches!(tried, Tried::NotPlayed)).count();
    let differing: Vec<_> = tried
        .into_iter()
        .filter_map(|tried| if let Tried::Differing(found) = tried { Some(found) } else { None })
        .collect();
    assert!(differing.is_empty(), "of {scripts} scripts {played} were played, and {}", told(&differing));
    assert!(played as u64 > scripts * 9 / 10, "only {played} of {scripts} scripts were played");
}

#[test]
fn a_held_way_takes_as_many_lines_on_both_drivers() {
    let _alone = exclusively();
    assert_eq!(difference(&Script::of_many_lines()), Ok(None));
}

/// Tries scripts on as many threads as there are cores.
fn search(first: u64, scripts: u64) -> Vec<Tried> {
    let (next, tried) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                for number in numbers.take_while(|&number| number < first + scripts) {
                    let now = try_number(number);
                    tried.lock().expect("no thread panics").push(now);
                }
            });
        }
    });
    tried.into_inner().expect("no thread panics")
}

fn try_number(number: u64) -> Tried {
    let script = Script::of(number);
    match difference(&script) {
        Err(_) => Tried::NotPlayed,
        Ok(None) => Tried::Alike,
        Ok(Some(how)) => Tried::Differing(shrink(Differing { script, how })),
    }
}

/// Leaves out steps as long as the drivers differ.
fn shrink(mut differing: Differing) -> Differing {
    let differs = |script: Script| {
        let how = difference(&script).ok()??;
        Some(Differing { script, how })
    };
    loop {
        let smaller = differing.script.smaller().find_map(differs);
        let Some(smaller) = smaller else { return differing };
        differing = smaller;
    }
}

/// Says which scripts differ and by what, where their files are, and how many there are of each kind.
fn told(differing: &[Differing]) -> String {
    let mut kinds = BTreeMap::<String, u64>::new();
    let mut text = format!("{} differ:\n", differing.len());
    for Differing { script, how } in differing {
        let herd = script.herd;
        let latency = herd.latency.unwrap_or("no latency");
        let kind = format!("{}, {latency}: {}", herd.mode, script.verbs());
        let file = write(script);
        text += &format!("{} ({}, {}, {kind})\n    {how}\n", file.display(), herd.strategy, herd.reply);
        *kinds.entry(kind).or_default() += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    kinds.iter().for_each(|(kind, count)| text += &format!("{count:5} {kind}\n"));
    text
}

/// Writes a script where `herdsim run --driver both` finds it.
fn write(script: &Script) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("parity");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let file = folder.join(format!("{}.toml", script.number));
    std::fs::write(&file, script.to_toml()).expect("the file can be written");
    file
}
