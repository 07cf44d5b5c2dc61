//! Where the secret of an account of the file is: in a variable, in a file, or with a program that prints it.

use super::Secret;
use crate::error::{Error, ErrorClass, Result};
use crate::text::{Text, key, text};

/// How a secret is given, for hints.
pub(super) const HOW_TO_GIVE_A_SECRET: &str = "write secret_env = \"NAME\", the name of an environment variable that holds the app secret, or \
     secret_file = \"PATH\", or secret_command = [\"PROGRAM\", \"ARGUMENT\"], a program that prints it";

/// Where a secret is. The texts are hidden as a secret is: each may be one, by mistake.
#[derive(Clone, Debug)]
pub(super) enum SecretSource {
    Variable(Secret),
    File(Secret),
    /// A program and its arguments; never empty.
    Command(Vec<Secret>),
}

impl SecretSource {
    /// The one place of three that was set.
    ///
    /// # Errors
    /// What is wrong and what to do, when none was set or several.
    pub(super) fn of(
        variable: Option<String>,
        file: Option<String>,
        command: Option<Vec<String>>,
    ) -> std::result::Result<Self, (Text, &'static str)> {
        let given = [
            ("secret_env", variable.map(|name| Self::Variable(Secret::new(name)))),
            ("secret_file", file.map(|path| Self::File(Secret::new(path)))),
            ("secret_command", command.map(|words| Self::Command(words.into_iter().map(Secret::new).collect()))),
        ];
        let mut given: Vec<(&str, Self)> = given.into_iter().filter_map(|(key, source)| Some((key, source?))).collect();
        match (given.pop(), &given[..]) {
            (None, _) => Err((Text::from("the account has no secret"), HOW_TO_GIVE_A_SECRET)),
            (Some((_, source)), []) => Ok(source),
            (Some((last, _)), others) => {
                let others: Vec<&str> = others.iter().map(|(key, _)| *key).collect();
                let others_named = others.join(", ");
                let why = match others.len() {
                    1 => text!("{others} and {last} are both set", others = others_named, last),
                    _ => text!("{others} and {last} are all set", others = others_named, last),
                };
                Err((why, key!("keep one of them")))
            }
        }
    }

    /// Whether it is the variable of this name.
    pub(super) fn is_variable(&self, name: &str) -> bool {
        matches!(self, Self::Variable(variable) if variable.expose() == name)
    }

    /// The key by which the file says it.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Variable(_) => "secret_env",
            Self::File(_) => "secret_file",
            Self::Command(_) => "secret_command",
        }
    }

    /// The secret; `variable` gives a variable's value, `read_file` a file's text, `run` what a program prints.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it is not there, or is none.
    pub(super) fn secret(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&str) -> std::io::Result<String>,
        run: impl Fn(&[&str]) -> Result<String>,
    ) -> Result<Secret> {
        match self {
            Self::Variable(name) => match variable(name.expose()).filter(|text| !text.trim().is_empty()) {
                Some(text) => {
                    Secret::given(&text).map_err(|error| error.with("in", "the variable that `secret_env` names"))
                }
                // What stands there is not said: it may be the secret itself.
                None => Err(Error::new(ErrorClass::SecretUnusable, "the variable that `secret_env` names is not set")
                    .hint(HOW_TO_GIVE_A_SECRET)),
            },
            Self::File(file) => Secret::in_file(read_file(file.expose()), "`secret_file`"),
            Self::Command(words) => {
                let words: Vec<&str> = words.iter().map(Secret::expose).collect();
                let text = run(&words)?;
                Secret::given(&text).map_err(|error| error.with("in", "what the program of `secret_command` printed"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_place_holds_the_secret() {
        let some = |is_set: bool| is_set.then(|| "m4rker".to_owned());
        for set in 0..8_u8 {
            let has = |bit: u8| set & bit != 0;
            let source = SecretSource::of(some(has(1)), some(has(2)), some(has(4)).map(|word| vec![word]));
            match (set.count_ones(), source) {
                (1, source) => assert!(source.is_ok()),
                (count, Ok(_)) => panic!("{count} are set"),
                (count, Err((why, hint))) => {
                    let told = format!("{why} {hint}");
                    let word = ["no secret", "", "both set", "all set"][count as usize];
                    assert!(told.contains(word) && !told.contains("m4rker"), "{told}");
                }
            }
        }
    }

    #[test]
    fn what_a_program_prints_is_judged_as_any_secret_and_never_repeated() {
        let source = SecretSource::of(None, None, Some(vec!["vault".into(), "read".into()])).expect("one");
        assert_eq!(source.key(), "secret_command");
        let ask = |printed: &'static str| {
            source.secret(
                |_| None,
                |_| Err(std::io::ErrorKind::NotFound.into()),
                |words| {
                    assert_eq!(words, ["vault", "read"]);
                    Ok(printed.to_owned())
                },
            )
        };
        assert_eq!(ask("s3cret:s4lt\n").expect("a secret").expose(), "s3cret:s4lt");
        for (printed, word) in [("", "empty"), ("m4rker\nm4rker\n", "several lines"), ("\"m4rker\"\n", "quotes")] {
            let error = ask(printed).expect_err(word);
            let told = format!("{error} {:?}", error.hint_text());
            assert!(told.contains(word) && told.contains("secret_command") && !told.contains("m4rk"), "{told}");
        }
    }
}
