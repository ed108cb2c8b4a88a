//! What fuzzing keeps, once more.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz targets")]
mod targets;

use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        run(&std::fs::read(file.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0);
}

#[test]
fn the_corpus_of_every_fuzz_target_is_replayed() {
    replay("wire", targets::wire);
    replay("herd_file", targets::herd_file);
    replay("scenario_file", targets::scenario_file);
    replay("node", targets::node);
}
