//! Variables, and the cases that a matrix makes of one file: from the text of a file to the texts of its cases.
//!
//! A variable is replaced in the text, before it is read, so that it can stand for a number or a list as well; what is wrong
//! with the result is shown in the result.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Problem, quoted};

/// Values of variables, by name.
pub type Variables = BTreeMap<String, String>;

/// What a file says of its variables, before it is read as a whole.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Values that hold unless the command line gives others.
    defaults: Variables,
    /// Several values of a variable: one case each.
    matrix: Vec<(String, Vec<String>)>,
}

/// One case of a file.
#[derive(Debug)]
pub(super) struct Variant {
    /// What tells it from the others: `strategy=flood, size=5`.
    pub(super) name: String,
    /// What the matrix chose, by variable.
    pub(super) chosen: Variables,
    /// Every variable that may be used.
    variables: Variables,
}

impl Settings {
    /// Looks into a text that may not be valid yet, because variables stand in it. What is wrong is found when it is read.
    pub(super) fn of(text: &str) -> Self {
        let (document, _) = DeTable::parse_recoverable(text);
        let table = |key: &str| document.get_ref().get(key).and_then(|value| value.get_ref().as_table());
        let mut settings = Self::default();
        for (name, value) in table("variables").into_iter().flatten() {
            settings.defaults.extend(shown(value.get_ref()).map(|value| (name.get_ref().to_string(), value)));
        }
        for (name, values) in table("matrix").into_iter().flatten() {
            let values = values.get_ref().as_array().into_iter().flatten();
            let values: Vec<_> = values.filter_map(|value| shown(value.get_ref())).collect();
            settings.matrix.push((name.get_ref().to_string(), values));
        }
        settings
    }

    /// Leaves a variable out of the matrix: the command line says what it is.
    pub(super) fn fix(&mut self, name: Option<&str>) {
        self.matrix.retain(|(axis, _)| Some(axis.as_str()) != name);
    }

    /// Every choice of the matrix, the last variable changing fastest; a variable that is given is not chosen.
    pub(super) fn variants(&self, given: &Variables) -> Vec<Variant> {
        let open = self.matrix.iter().filter(|(name, _)| !given.contains_key(name));
        let choices = open.fold(vec![Vec::new()], |choices: Vec<Vec<(String, String)>>, (name, values)| {
            let longer = choices.into_iter().flat_map(|choice| {
                values.iter().map(move |value| [choice.clone(), vec![(name.clone(), value.clone())]].concat())
            });
            longer.collect()
        });
        let variant = |choice: Vec<(String, String)>| {
            let name = choice.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ");
            let chosen: Variables = choice.into_iter().collect();
            let mut variables = self.defaults.clone();
            variables.extend(given.clone());
            variables.extend(chosen.clone());
            Variant { name, chosen, variables }
        };
        choices.into_iter().map(variant).collect()
    }
}

/// A value as it would be written for a variable; `None` for what no variable can hold.
fn shown(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

impl Variant {
    /// The text with every `${NAME}` replaced, comments left alone.
    pub(super) fn apply(&self, text: &str) -> Result<String, Vec<Problem>> {
        let mut applied = String::with_capacity(text.len());
        let mut problems = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            let is_comment = line.trim_start().starts_with('#');
            if is_comment {
                applied.push_str(line)
            } else {
                self.apply_line(line, offset, &mut applied, &mut problems)
            }
            offset += line.len();
        }
        if problems.is_empty() { Ok(applied) } else { Err(problems) }
    }

    fn apply_line(&self, line: &str, offset: usize, applied: &mut String, problems: &mut Vec<Problem>) {
        let mut rest = line;
        while let Some(start) = rest.find("${") {
            let at = offset + line.len() - rest.len() + start;
            applied.push_str(&rest[..start]);
            let Some(length) = rest[start..].find('}') else {
                let problem = Problem::error(at..at + 2, "a variable without its end");
                problems.push(problem.help("write ${NAME}"));
                rest = &rest[start + 2..];
                continue;
            };
            let name = &rest[start + 2..start + length];
            match self.variables.get(name) {
                Some(value) => applied.push_str(value),
                None => {
                    let problem = Problem::error(at..at + length + 1, format!("unknown variable {}", quoted(name)));
                    let known = self.variables.keys().map(String::as_str);
                    let otherwise = "give it under `[variables]`, or with --variable NAME=VALUE";
                    problems.push(problem.suggest(name, known, otherwise));
                }
            }
            rest = &rest[start + length + 1..];
        }
        applied.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[variables]\nN = 3\n[matrix]\nstrategy = ['flood', 'direct']\nsize = [5, 9]\n";

    #[test]
    fn a_matrix_makes_every_choice_and_the_command_line_beats_defaults() {
        let given = Variables::from([("N".to_owned(), "4".to_owned())]);
        let variants = Settings::of(TEXT).variants(&given);
        let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
        assert_eq!(
            names,
            ["size=5, strategy=flood", "size=5, strategy=direct", "size=9, strategy=flood", "size=9, strategy=direct"]
        );
        assert_eq!(variants[3].apply("n = ${N}${size} # ${N}\n# ${NO}\n"), Ok("n = 49 # 4\n# ${NO}\n".to_owned()));
    }

    #[test]
    fn unknown_variables_are_found_where_they_stand() {
        let variants = Settings::of(TEXT).variants(&Variables::new());
        let problems = variants[0].apply("a = 1\nb = \"${siz}\"\n").expect_err("one is unknown");
        assert_eq!((problems[0].span.clone(), problems[0].help[0].as_str()), (11..17, "did you mean `size`?"));
    }
}
