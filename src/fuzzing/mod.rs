//! Readers of what others wrote, tried with inputs that nobody writes on purpose.
//!
//! Each target has a corpus in `tests/fuzz/corpus/<target>/`, which is tried as it is and then changed at random: the
//! same seed gives the same inputs. There is no feedback from the compiler; instead a target says what kind of end an
//! input came to, and the first inputs of each kind join those that are changed further. An input that a target refuses
//! to stand is printed with its seed, and belongs into the corpus once it is mended.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `WDT_FUZZ_INPUTS` | how many inputs each target tries; a few seconds' worth by default |
//! | `WDT_FUZZ_SECONDS` | how long each target tries instead |
//! | `WDT_FUZZ_SEED` | where the random numbers begin; 1 by default |
//! | `WDT_FUZZ_WRITE_SEEDS` | whether the seeds of manifests are written anew, after a change of the format |
//!
//! The targets are the modules `fuzz_tests` beside what they try. `WDT_FUZZ_INPUTS=10000000 cargo test --release --lib
//! fuzz_tests:: -- --nocapture` tries as many as before a release.

mod mutate;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The most inputs that are changed further.
const POOL: usize = 2_000;
/// The largest input.
const MAX_BYTES: usize = 16 << 10;

/// What is tried.
pub(crate) struct Target<'a> {
    /// The name of its folder of inputs.
    pub(crate) name: &'a str,
    /// Texts that mean something to it.
    pub(crate) words: &'a [&'a str],
    /// How many inputs are tried when nobody says.
    pub(crate) inputs: u64,
}

/// How long a target is tried.
enum Extent {
    Inputs(u64),
    Time(Duration),
}

impl Extent {
    fn of_environment(inputs: u64) -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}")))
        };
        match (number("WDT_FUZZ_SECONDS"), number("WDT_FUZZ_INPUTS")) {
            (Some(seconds), _) => Self::Time(Duration::from_secs(seconds)),
            (None, given) => Self::Inputs(given.unwrap_or(inputs)),
        }
    }
}

impl Target<'_> {
    /// Tries the target with many inputs. `check` panics at what must not be, and says what kind of end the input came
    /// to.
    pub(crate) fn fuzz(&self, mut check: impl FnMut(&[u8]) -> String) {
        let seed = std::env::var("WDT_FUZZ_SEED").ok().map_or(1, |seed| seed.parse().expect("a whole number"));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pool = corpus(self.name);
        let mut kinds = HashSet::new();
        let mut try_one = |input: &[u8], place: &str| {
            let kind = catch_unwind(AssertUnwindSafe(|| check(input))).unwrap_or_else(|panic| {
                say(&format!("{} cannot stand {place} of seed {seed}: \"{}\"", self.name, input.escape_ascii()));
                resume_unwind(panic)
            });
            kinds.insert(kind)
        };
        for (at, input) in pool.iter().enumerate() {
            try_one(input, &format!("the given input {at}"));
        }
        let (extent, began, mut tried) = (Extent::of_environment(self.inputs), Instant::now(), 0_u64);
        loop {
            let is_done = match extent {
                Extent::Inputs(inputs) => tried >= inputs,
                Extent::Time(time) => began.elapsed() >= time,
            };
            if is_done {
                break;
            }
            let input = mutate::mutated(&pool, self.words, MAX_BYTES, &mut rng);
            let is_new = try_one(&input, &format!("input {tried}"));
            if is_new && pool.len() < POOL && !input.is_empty() {
                pool.push(input);
            }
            tried += 1;
        }
        let seconds = began.elapsed().as_secs_f64();
        say(&format!("{}: {tried} inputs of seed {seed}, {} kinds of ends, {seconds:.1} s", self.name, kinds.len()));
    }
}

/// A test's own report, shown when it fails or is asked for.
fn say(text: &str) {
    eprintln!("{text}");
}

/// The inputs that a target begins with, in the order of their names.
/// The folder of a target's inputs.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = folder(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no inputs", folder.display());
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}

/// What kind of end a message stands for: its words without numbers, names and texts.
pub(crate) fn kind(message: &str) -> String {
    let words = message.split(|letter: char| !letter.is_ascii_alphabetic()).filter(|word| word.len() > 2);
    words.take(12).collect::<Vec<_>>().join(" ")
}

/// A place below `count`, which is not 0.
fn below(count: usize, rng: &mut StdRng) -> usize {
    rng.random_range(0..count)
}

#[test]
fn the_same_seed_gives_the_same_inputs_and_no_two_are_alike_for_long() {
    let pool =
        vec![b"{\"a\":[1,2.50],\"b\":\"x\"}".to_vec(), b"{\"c\":{\"d\":null,\"e\":[true,\"y\"]},\"f\":-12}".to_vec()];
    let inputs = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..1_000).map(|_| mutate::mutated(&pool, &["null", "}"], 1_000, &mut rng)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
    let distinct: HashSet<Vec<u8>> = inputs(1).into_iter().collect();
    assert!(distinct.len() > 500, "{}", distinct.len());
    assert!(distinct.iter().all(|input| input.len() <= 1_000));
    let is_json = |input: &&Vec<u8>| serde_json::from_slice::<serde_json::Value>(input).is_ok();
    assert!(distinct.iter().filter(is_json).count() > 50, "changes that keep to the form are among them");
}
