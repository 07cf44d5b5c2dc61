//! What a store can do of what a lake asks, tried one by one with objects of its own names, which it deletes again.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::sync::Mutex;

use crate::error::{Error, ErrorClass, Result};
use crate::id::RunId;
use crate::log::layout::{LEASE_ROOT, STAGING_ROOT, probe};
use crate::store::capability::{Condition, create_twice};
use crate::store::failpoint::FailPoints;
use crate::store::s3::{Bucket, ListQuery, Shown, upload};
use crate::store::{Created, Store, Writers};
use crate::text::{Text, key, text};

/// How many create one name at once.
const RACERS: usize = 8;
/// The smallest part that stores take.
const SMALLEST_PART_BYTES: usize = 5 << 20;
/// A clock that is further off than this is worth a word: leases are compared between machines, and signatures grow
/// stale.
const CLOCK_SECONDS: i64 = 60;

/// What a lake asks of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Ability {
    /// What was written is read at once, also after it was written over.
    ReadAfterWrite,
    /// A listing shows at once what was written.
    List,
    /// A listing goes on from page to page, however short these are.
    ListPages,
    /// What was deleted is gone at once, and deleting it again is no error.
    Delete,
    /// An object is created only where nothing stands.
    ConditionalCreate,
    /// Of many that create one name at once, one succeeds.
    CreateRace,
    /// A big object is put in parts, and an upload is aborted.
    Multipart,
    /// The store's clock agrees with this machine's.
    Clock,
}

impl Ability {
    /// Its name in outputs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReadAfterWrite => "read_after_write",
            Self::List => "list",
            Self::ListPages => "list_pages",
            Self::Delete => "delete",
            Self::ConditionalCreate => "conditional_create",
            Self::CreateRace => "create_race",
            Self::Multipart => "multipart",
            Self::Clock => "clock",
        }
    }

    /// Its name for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::ReadAfterWrite => key!("read after write"),
            Self::List => key!("list"),
            Self::ListPages => key!("list pages"),
            Self::Delete => key!("delete"),
            Self::ConditionalCreate => key!("conditional create"),
            Self::CreateRace => key!("create race"),
            Self::Multipart => key!("multipart"),
            Self::Clock => key!("clock"),
        }
    }
}

/// What came of trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AbilityOutcome {
    /// It works; perhaps with something to say.
    Works(Option<Text>),
    /// It does not, for this reason.
    Fails(Text),
    /// It was not tried, for this reason.
    Skipped(Text),
}

/// One ability, tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AbilityReport {
    /// Which.
    pub ability: Ability,
    /// What came of it.
    pub outcome: AbilityOutcome,
    /// Whether a lake cannot do without.
    pub is_needed: bool,
    /// What to do when it fails.
    pub hint: Option<Text>,
}

impl AbilityReport {
    /// Whether a lake cannot live here because of it.
    pub(crate) fn is_fatal(&self) -> bool {
        self.is_needed && matches!(self.outcome, AbilityOutcome::Fails(_))
    }
}

/// Tries everything, and clears away what it wrote.
///
/// # Errors
/// Those of [`Store`] when not even a first object can be written and listed: then there is nothing to find out.
pub(crate) async fn examine(store: &Store) -> Result<Vec<AbilityReport>> {
    // The first word with the store is let through as an error: wrong keys, missing buckets and dead endpoints explain
    // themselves.
    store.list(LEASE_ROOT).await?;
    let made = FreshFolders::of(store);
    let trial = Trial { store, run: RunId::generate(), written: Mutex::default() };
    let examined = trial.all().await;
    let cleared = trial.clear().await;
    made.remove();
    let findings = examined?;
    cleared?;
    Ok(findings)
}

struct Trial<'a> {
    store: &'a Store,
    run: RunId,
    /// What it wrote, to be cleared away also where listings cannot be believed.
    written: Mutex<BTreeSet<String>>,
}

impl Trial<'_> {
    async fn all(&self) -> Result<Vec<AbilityReport>> {
        // So is the first object: a key may be allowed to read only.
        self.put("first", "first").await?;
        let single = self.store.writers() == Writers::Single;
        let mut findings = vec![
            finding(Ability::ReadAfterWrite, self.read_after_write().await),
            finding(Ability::List, self.list().await),
            self.pages().await,
            finding(Ability::Delete, self.delete().await),
        ];
        let condition = self.conditional_create().await;
        let keeps = condition.is_ok();
        let mut condition = AbilityReport { is_needed: !single, ..finding(Ability::ConditionalCreate, condition) };
        // It is what was asked for already.
        condition.hint = condition.hint.filter(|hint| !single || !hint.english().contains("--single-writer"));
        findings.push(condition);
        let race = if keeps {
            self.race().await.map(AbilityOutcome::Works)
        } else {
            Ok(AbilityOutcome::Skipped(text!("it cannot create conditionally")))
        };
        findings.push(AbilityReport { is_needed: !single, ..finding_of(Ability::CreateRace, race) });
        match self.store.bucket() {
            Some(bucket) => {
                findings.push(finding(Ability::Multipart, self.multipart(bucket).await));
                findings.push(AbilityReport { is_needed: false, ..finding(Ability::Clock, self.clock(bucket).await) });
            }
            None => {
                findings.push(finding_of(
                    Ability::Multipart,
                    Ok(AbilityOutcome::Skipped(text!("only S3 puts big objects in parts"))),
                ));
                findings.push(finding_of(
                    Ability::Clock,
                    Ok(AbilityOutcome::Skipped(text!("the store has no clock of its own"))),
                ));
            }
        }
        Ok(findings)
    }

    async fn read_after_write(&self) -> Result<Option<Text>> {
        for text in ["first", "written over, and longer"] {
            self.put("first", text).await?;
            self.expect("first", Some(text)).await?;
        }
        Ok(None)
    }

    async fn list(&self) -> Result<Option<Text>> {
        self.put("listed-1", "1").await?;
        self.put("listed-2", "22").await?;
        let listed = self.store.list_after(LEASE_ROOT, &self.name("listed-")).await?;
        for (what, bytes) in [("listed-1", 1), ("listed-2", 2)] {
            if !listed.iter().any(|object| object.path == self.name(what) && object.bytes == bytes) {
                return Err(failed("a listing does not show what was written"));
            }
        }
        if self.store.list(LEASE_ROOT).await?.iter().any(|object| object.path == self.name("listed-1")) {
            return Ok(None);
        }
        Err(failed("a listing does not show what was written"))
    }

    /// Lists names one by one, folders one by one, and what comes after a name and under one, as the log does.
    async fn pages(&self) -> AbilityReport {
        match self.store.bucket() {
            Some(bucket) => finding(Ability::ListPages, self.pages_of(bucket).await),
            None => finding_of(Ability::ListPages, Ok(AbilityOutcome::Skipped(text!("only S3 lists by pages")))),
        }
    }

    async fn pages_of(&self, bucket: &Bucket) -> Result<Option<Text>> {
        let own = self.name("page-");
        let names = ["page-1", "page-2=a", "page-2=b", "page-3"];
        let below = ["page-4=a/x", "page-4=b/x"];
        for what in names.iter().chain(&below) {
            self.put(what, "x").await?;
        }
        let (names, below) = (names.map(|what| self.name(what)), below.map(|what| self.name(what)));
        let one_by_one = ListQuery { prefix: &own, page_names: Some(1), ..ListQuery::default() };
        let listed = self.store.shown(bucket, one_by_one).await?;
        let all: Vec<&String> = names.iter().chain(&below).collect();
        expect_names(&listed, &all, key!("one name a page"))?;
        let later = ListQuery { after: Some(&names[1]), ..one_by_one };
        expect_names(&self.store.shown(bucket, later).await?, &all[2..], key!("what comes after a name"))?;
        let part = self.name("page-2");
        let under = ListQuery { prefix: &part, ..one_by_one };
        expect_names(&self.store.shown(bucket, under).await?, &all[1..3], key!("what begins with a part of a name"))?;
        let folders = self.store.shown(bucket, ListQuery { folders_only: true, ..one_by_one }).await?;
        expect_names(&folders, &all[..4], key!("names beside folders"))?;
        if folders.folders != ["page-4=a", "page-4=b"].map(|what| self.name(what)) {
            return Err(failed("a listing of folders shows others than there are"));
        }
        Ok(Some(text!("{names} names on {pages} pages", names = listed.objects.len(), pages = listed.pages)))
    }

    async fn delete(&self) -> Result<Option<Text>> {
        self.put("deleted", "x").await?;
        for _ in 0..2 {
            self.store.delete(&self.name("deleted")).await?;
            self.expect("deleted", None).await?;
        }
        if self.store.list(LEASE_ROOT).await?.iter().any(|object| object.path == self.name("deleted")) {
            return Err(failed("a listing shows what was deleted"));
        }
        Ok(None)
    }

    /// Says by what an object is created only where nothing stands.
    async fn conditional_create(&self) -> Result<Option<Text>> {
        let by = match self.store.bucket() {
            Some(bucket) => {
                let (header, by) = (bucket.create_header, bucket.create_header.text());
                let condition = create_twice(self.store, bucket, &|what| probe(self.run, what)).await?;
                let hint = condition.hint(header);
                match condition {
                    Condition::Kept => Some(by),
                    Condition::Refused(why) => {
                        return Err(failed(text!("the store refuses {by}", by)).because(why).hint(hint));
                    }
                    Condition::Ignored => {
                        return Err(failed(text!("the store ignores {by}: it wrote over what stands", by)).hint(hint));
                    }
                }
            }
            None => self.store.folder().map(|_| key!("a hard link")),
        };
        self.create("created", "first").await?;
        if self.create("created", "second").await? == Created::New {
            return Err(failed("a name was created twice"));
        }
        self.expect("created", Some("first")).await?;
        Ok(by.map(|by| text!("by {by}", by = Text::from(by))))
    }

    async fn race(&self) -> Result<Option<Text>> {
        let texts: Vec<String> = (0..RACERS).map(|racer| racer.to_string()).collect();
        let tries = futures::future::try_join_all(texts.iter().map(|text| self.create("race", text))).await?;
        let won = tries.iter().filter(|created| **created == Created::New).count();
        // A winner may have lost its answer, and found the name taken by itself.
        if won > 1 {
            return Err(failed(text!(
                "{won} of {racers} that created one name at once were told that they did",
                won,
                racers = RACERS
            )));
        }
        Ok(None)
    }

    async fn multipart(&self, bucket: &Bucket) -> Result<Option<Text>> {
        let name = self.written("parts").await;
        let bytes = Bytes::from(vec![b'x'; SMALLEST_PART_BYTES + 1]);
        let size = bytes.len() as u64;
        let told = |error| self.store.failed("upload", &name, &error);
        let note = self.name("note");
        let put = upload::put_in_parts(bucket, &name, bytes.into(), SMALLEST_PART_BYTES, &note, FailPoints::default());
        put.await.map_err(told)?;
        let held = bucket.objects.head(&Path::from(name.as_str())).await.map_err(told)?.size;
        if held != size {
            return Err(failed(text!("the store holds {held} bytes of {size} that were put in parts", held, size)));
        }
        let aborted = self.written("aborted").await;
        upload::begin_and_abort(bucket, &aborted).await.map_err(told)?;
        match bucket.objects.head(&Path::from(aborted)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            _ => Err(failed("an aborted upload left an object")),
        }
    }

    async fn clock(&self, bucket: &Bucket) -> Result<Option<Text>> {
        self.put("clock", "x").await?;
        let name = self.name("clock");
        let held = bucket.objects.head(&Path::from(name.as_str())).await;
        let written = held.map_err(|error| self.store.failed("check", &name, &error))?.last_modified.timestamp();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ahead = written - i64::try_from(now).unwrap_or(i64::MAX);
        match ahead.abs() {
            0..=CLOCK_SECONDS => Ok(Some(text!("{seconds} s from this machine's", seconds = format!("{ahead:+}")))),
            _ => Err(failed(text!(
                "the store's clock is {seconds} s from this machine's",
                seconds = format!("{ahead:+}")
            ))
            .hint("set this machine's clock")),
        }
    }

    fn name(&self, what: &str) -> String {
        probe(self.run, what)
    }

    /// A name that is about to be written.
    async fn written(&self, what: &str) -> String {
        let name = self.name(what);
        self.written.lock().await.insert(name.clone());
        name
    }

    fn staging(&self) -> String {
        format!("{STAGING_ROOT}/probe-{}", self.run)
    }

    async fn put(&self, what: &str, text: &str) -> Result<()> {
        let name = self.written(what).await;
        self.store.put_unique(&name, Bytes::copy_from_slice(text.as_bytes()), &self.staging()).await
    }

    async fn create(&self, what: &str, text: &str) -> Result<Created> {
        let name = self.written(what).await;
        self.store.create(&name, Bytes::copy_from_slice(text.as_bytes()), &self.staging()).await
    }

    async fn expect(&self, what: &str, text: Option<&str>) -> Result<()> {
        let held = self.store.get(&self.name(what)).await?;
        match (held, text) {
            (Some(held), Some(text)) if held == text.as_bytes() => Ok(()),
            (None, None) => Ok(()),
            (Some(_), None) => Err(failed("what was deleted is still read")),
            (Some(_), Some(_)) => Err(failed("what is read is not what was written")),
            (None, Some(_)) => Err(failed("what was written is not there")),
        }
    }

    async fn clear(&self) -> Result<()> {
        for name in &*self.written.lock().await {
            self.store.delete(name).await?;
        }
        Ok(())
    }
}

fn expect_names(shown: &Shown, names: &[&String], what: &'static str) -> Result<()> {
    if shown.objects.iter().map(|(name, _)| name).eq(names.iter().copied()) {
        return Ok(());
    }
    Err(failed(text!("a listing of {what} shows others than there are", what = Text::from(what))))
}

/// Folders of a local lake that were not there before, and go again.
struct FreshFolders(Vec<std::path::PathBuf>);

impl FreshFolders {
    fn of(store: &Store) -> Self {
        let folders =
            store.folder().into_iter().flat_map(|root| [LEASE_ROOT, STAGING_ROOT].map(|name| root.join(name)));
        Self(folders.filter(|folder| !folder.exists()).collect())
    }

    fn remove(self) {
        for folder in self.0 {
            // One that another run has begun to use is not empty and stays.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn failed(why: impl Into<Text>) -> Error {
    Error::new(ErrorClass::StoreUnsound, why)
}

fn finding(ability: Ability, tried: Result<Option<Text>>) -> AbilityReport {
    finding_of(ability, tried.map(AbilityOutcome::Works))
}

fn finding_of(ability: Ability, tried: Result<AbilityOutcome>) -> AbilityReport {
    match tried {
        Ok(outcome) => AbilityReport { ability, outcome, is_needed: true, hint: None },
        Err(error) => AbilityReport {
            ability,
            is_needed: true,
            hint: error.hint_said().cloned(),
            outcome: AbilityOutcome::Fails(text!("{error}", error)),
        },
    }
}
