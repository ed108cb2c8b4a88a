//! Which part of the house may know which other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All parts that run, judge, show or talk.
const ABOVE: &[&str] =
    &["checker", "cli", "control", "driver", "history", "report", "runner", "scenario", "suite", "audit", "calibrate"];

/// A part, and the parts it may not name.
const RULES: &[(&str, &[&str])] = &[
    ("wire", ABOVE),
    ("wire", &["act", "claim", "config", "node", "places"]),
    ("node", ABOVE),
    ("node", &["act", "claim", "places"]),
    ("act", ABOVE),
    ("act", &["claim", "node"]),
    ("claim", ABOVE),
    ("claim", &["act", "node"]),
    ("checker", &["cli", "control", "driver", "report", "runner", "suite"]),
    ("history", &["checker", "cli", "control", "driver", "report", "runner", "scenario", "suite"]),
    ("report", &["cli", "control", "driver", "runner", "suite"]),
];

#[test]
fn no_part_knows_one_it_must_not_know() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let part = part(&file);
        for (number, path) in paths(&text) {
            let forbidden = RULES.iter().any(|(of, parts)| *of == part && parts.contains(&path))
                || path == "cli" && part != "cli" && part != "main";
            if forbidden {
                wrong.push(format!("{}:{number}: `{part}` names `crate::{path}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_rule_is_of_parts_that_exist() {
    let parts: BTreeSet<String> = sources().iter().map(|(file, _)| part(file)).collect();
    for (of, others) in RULES {
        for name in [of].into_iter().chain(*others) {
            assert!(parts.contains(*name), "{name}");
        }
    }
}

#[test]
fn a_path_is_found_in_code_and_not_in_comments_or_tests() {
    let text = "//! [`crate::cli`]\nuse crate::node::Node;\nlet x = crate::wire::cut(crate::act::A);\n#[cfg(test)]\nmod tests { use crate::cli; }\n";
    assert_eq!(paths(text), [(2, "node"), (3, "wire"), (3, "act")]);
}

/// The paths from the root of the crate in code that is not a test's, each with the number of its line.
fn paths(text: &str) -> Vec<(usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let code = text[..end].lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(index, line)| {
        line.match_indices("crate::").map(move |(at, root)| {
            let rest = &line[at + root.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            assert!(end > 0, "one `use` for each part, please: {line}");
            (index + 1, &rest[..end])
        })
    })
    .collect()
}

/// The part a file belongs to: the first folder or file of its path in `src`.
fn part(file: &Path) -> String {
    let first = file.components().next().expect("a file in `src`");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// All source files but the ones that are only built for tests, by their path in `src`.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files, mut tests) = (vec![root.clone()], Vec::new(), BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                tests.extend(modules_of_tests(&path, &text));
                files.push((path, text));
            }
        }
    }
    files.retain(|(path, _)| !tests.iter().any(|test| path.with_extension("").starts_with(test)));
    assert!(files.len() > 50 && !tests.is_empty(), "{} files, {} of tests", files.len(), tests.len());
    files
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(&root).expect("a path in `src`").to_owned(), text))
        .collect()
}

/// The files (without extension) of the modules that `text`, the source in `path`, declares for tests alone.
fn modules_of_tests(path: &Path, text: &str) -> Vec<PathBuf> {
    let is_root = path.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib" || stem == "main");
    let folder = if is_root { path.parent().expect("a folder").to_owned() } else { path.with_extension("") };
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.split_once(';'));
    declared
        .filter_map(|(line, _)| {
            line.split_once("mod ").filter(|(before, _)| before.len() < 16).map(|(_, name)| name.trim())
        })
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .map(|name| folder.join(name))
        .collect()
}
