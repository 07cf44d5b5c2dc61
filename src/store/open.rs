//! Opening a lake: what its location means, and whether it is there.

use std::io::ErrorKind as IoErrorKind;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use super::failpoint::FailPoints;
use super::s3::Bucket;
use super::{Access, Store, Writers};
use crate::error::{Error, ErrorClass, Result};
use crate::home;
use crate::store::local;
use crate::text::text;

/// What a location means.
enum Place {
    Folder(PathBuf),
    Bucket,
}

impl Place {
    fn of(location: &str) -> Result<Self> {
        let location = location.trim();
        if location.is_empty() {
            return Err(Error::new(ErrorClass::LocationWrong, "the lake has no location")
                .hint("give a folder or s3://bucket/prefix"));
        }
        let uri = location.split_once("://").filter(|(scheme, _)| is_scheme(scheme));
        let Some((scheme, _)) = uri else {
            check_path(location)?;
            return Ok(Self::Folder(home::expand(location)?.into_owned()));
        };
        match &*scheme.to_lowercase() {
            "file" => {
                let folder = url::Url::parse(location).ok().and_then(|url| url.to_file_path().ok());
                folder.map(Self::Folder).ok_or_else(|| {
                    Error::new(ErrorClass::LocationWrong, "the lake is not a local file URI")
                        .with("lake", location)
                        .hint("write `file:///path/to/lake`, or just the path")
                })
            }
            "s3" | "s3a" => Ok(Self::Bucket),
            scheme => Err(Error::new(ErrorClass::LocationWrong, text!("a lake at `{scheme}://` is not supported", scheme))
                .hint("give a folder, a `file://` URI, or `s3://bucket/prefix`; stores that speak S3 are `s3://` with AWS_ENDPOINT_URL")),
        }
    }
}

fn is_scheme(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Refuses what is left of a URI when a path library has taken it for a path, such as `s3:/bucket/lake`: a folder of
/// that name is hardly meant.
fn check_path(location: &str) -> Result<()> {
    // A single letter is a drive of Windows.
    let word = location.split_once(':').filter(|(word, _)| is_scheme(word) && word.len() > 1);
    let Some((scheme, rest)) = word else { return Ok(()) };
    let rest = rest.trim_start_matches(['/', '\\']).replace('\\', "/");
    // Somebody may have put a key before the bucket.
    let rest = match rest.split_once('@') {
        Some((before, after)) if !before.contains('/') => after,
        _ => &*rest,
    };
    let hint = match &*scheme.to_lowercase() {
        "s3" | "s3a" | "s3n" => text!("write `s3://{rest}`", rest),
        "file" => text!("write `file:///{rest}`, or just `/{rest}`", rest),
        "oss" | "cos" | "cosn" | "obs" | "tos" | "minio" | "r2" | "gs" => {
            text!("write `s3://{rest}`, with AWS_ENDPOINT_URL for the address of the store", rest)
        }
        _ => text!("write `s3://bucket/prefix`, or `./` before the name of a folder that holds a colon"),
    };
    Err(Error::new(
        ErrorClass::LocationWrong,
        text!("the lake's location begins with `{scheme}:` and has no `//` behind it", scheme),
    )
    .hint(hint))
}

impl Store {
    /// The lake at `location`: a folder, a `file://` URI, or `s3://bucket/prefix` as the `AWS_*` variables of the environment say.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a scheme that is not supported and for settings that are
    /// missing or contradict each other, [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the folder cannot be
    /// used.
    pub fn open(location: &str, access: Access) -> Result<Self> {
        match Place::of(location)? {
            Place::Folder(folder) => Self::local(&folder, access),
            Place::Bucket => {
                let text = std::env::vars_os()
                    .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
                Self::s3(location, text)
            }
        }
    }

    /// The lake at `location`, to be read, if it is there. What cannot be looked at is an error. A bucket has no
    /// folders that could be missing: a lake in it that nobody has written to is empty.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn find(location: &str) -> Result<Option<Self>> {
        match Place::of(location)? {
            Place::Folder(folder) if is_missing(&folder) => Ok(None),
            _ => Self::open(location, Access::Read).map(Some),
        }
    }

    /// The folder of a lake that is not there yet; none where it is, and of a bucket.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) as [`Store::open`].
    pub(crate) fn missing_folder(location: &str) -> Result<Option<PathBuf>> {
        match Place::of(location)? {
            Place::Folder(folder) if is_missing(&folder) => Ok(Some(folder)),
            _ => Ok(None),
        }
    }

    /// An empty store on the disk on which `folder` would lie, to be tried in its place. It goes with what is given
    /// beside it.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when nothing can be made there.
    pub(crate) fn trial_for(folder: &FsPath) -> Result<(Self, tempfile::TempDir)> {
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let above = absolute.ancestors().find(|above| !is_missing(above)).unwrap_or(&absolute);
        let made = tempfile::Builder::new().prefix(".wdt-lake-doctor-").tempdir_in(above).map_err(|error| {
            Error::new(ErrorClass::Lake, "the lake's folder cannot be made")
                .with("in", above.display())
                .with("lake", folder.display())
                .because(error.kind().to_string())
                .hint("choose a folder that this user may create and write, with space left")
        })?;
        Ok((Self::local(made.path(), Access::Read)?, made))
    }

    /// A lake in memory, for tests: clones share it.
    pub fn memory() -> Self {
        Self {
            objects: Arc::new(InMemory::new()),
            folder: None,
            bucket: None,
            writers: Writers::Many,
            name: "memory://".into(),
            fail_points: FailPoints::default(),
        }
    }

    /// A lake in a bucket, at `s3://bucket/prefix`, as those of `variables` say whose names begin with `AWS_`. Nothing
    /// is asked of the network yet.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for settings that are missing or contradict each other.
    pub fn s3(location: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        Ok(Self::in_bucket(Bucket::open(location, variables)?))
    }

    /// The same over a network that tests make.
    #[cfg(test)]
    pub(crate) fn s3_over(
        network: Arc<dyn object_store::client::HttpConnector>,
        location: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        Ok(Self::in_bucket(Bucket::open_over(network, location, variables)?))
    }

    fn in_bucket(bucket: Bucket) -> Self {
        Self {
            objects: Arc::clone(&bucket.objects),
            folder: None,
            name: bucket.root.as_str().into(),
            bucket: Some(Arc::new(bucket)),
            writers: Writers::Many,
            fail_points: FailPoints::of_process(),
        }
    }

    /// A lake in a local folder.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the folder does not exist and is only to be read, or cannot be
    /// made or opened.
    pub fn local(folder: &FsPath, access: Access) -> Result<Self> {
        let shown = folder.display().to_string();
        let cannot = |message: &'static str, error: std::io::Error| {
            Error::new(ErrorClass::FolderUnusable, message).with("lake", &shown).because(error)
        };
        match access {
            Access::Read if is_missing(folder) => {
                return Err(Error::new(ErrorClass::LakeMissing, "there is no lake")
                    .with("lake", &shown)
                    .hint("check the path; `wdt-lake sync` makes a new lake"));
            }
            Access::Read => {}
            // The staging folder is made at once, so that a folder in which nothing can be written is refused before
            // any call is spent.
            Access::Write => local::make_folders(&folder.join("_staging")).map_err(|error| {
                cannot("the lake's folder cannot be written", error)
                    .hint("choose a folder that this user may create and write, with space left")
            })?,
        }
        // Looked into at once: what cannot be listed is not taken for empty.
        let folder = std::fs::read_dir(folder).and_then(|_| folder.canonicalize()).map_err(|error| {
            cannot("the lake's folder cannot be opened", error)
                .hint("check the path: it must be a folder that this user may read")
        })?;
        let objects = LocalFileSystem::new_with_prefix(&folder).map_err(|error| {
            Error::new(ErrorClass::FolderUnusable, "the lake's folder cannot be opened")
                .with("lake", &shown)
                .because(error)
        })?;
        let name = folder.display().to_string().into();
        Ok(Self {
            objects: Arc::new(objects),
            folder: Some(Arc::new(folder)),
            bucket: None,
            writers: Writers::Many,
            name,
            fail_points: FailPoints::of_process(),
        })
    }
}

/// Whether nothing stands there; what cannot be looked at does.
fn is_missing(folder: &FsPath) -> bool {
    std::fs::metadata(folder).is_err_and(|error| error.kind() == IoErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_folder_that_cannot_be_is_refused_with_a_hint() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "x").expect("written");
        for (path, access) in
            [(file.join("lake"), Access::Write), (file, Access::Read), (folder.path().join("none"), Access::Read)]
        {
            let error = Store::local(&path, access).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Lake);
            assert!(error.hint_text().is_some() && error.to_string().contains("lake: "), "{error}");
        }
        let error = Store::open("ftp://x/y", Access::Write).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }

    #[test]
    fn what_is_left_of_a_uri_is_no_folder() {
        for (location, right) in [
            ("s3:/b/lake", "`s3://b/lake`"),
            ("s3:b/lake", "`s3://b/lake`"),
            ("S3:/b/lake", "`s3://b/lake`"),
            ("s3a:\\b\\lake", "`s3://b/lake`"),
            ("s3:/AK:SK@b/lake", "`s3://b/lake`"),
            ("oss:/b/lake", "`s3://b/lake`, with AWS_ENDPOINT_URL"),
            ("file:/srv/lake", "`file:///srv/lake`, or just `/srv/lake`"),
            ("file:lake", "file:///lake"),
            ("lake:2026", "`./`"),
            ("hdfs:/x", "s3://bucket/prefix"),
        ] {
            for error in [Store::open(location, Access::Write).map(drop), Store::find(location).map(drop)] {
                let error = error.expect_err("refused");
                assert_eq!(error.kind(), ErrorKind::Usage, "{location}");
                let hint = error.hint_text().expect("a hint");
                assert!(hint.contains(right) && !format!("{error} {hint}").contains("SK"), "{location}: {hint}");
            }
        }
        for folder in ["C:\\lake", "c:/lake", "./s3:/b", "/srv/a:b", "a b:c", "lake", "1:2", "./a://b", ":x"] {
            assert!(matches!(Place::of(folder), Ok(Place::Folder(path)) if path == FsPath::new(folder)), "{folder}");
        }
        assert!(
            matches!(Place::of("file:///srv/%E6%B9%96"), Ok(Place::Folder(path)) if path == FsPath::new("/srv/湖"))
        );
        assert!(matches!(Place::of("S3://bucket/x"), Ok(Place::Bucket)));
        assert!(matches!(Place::of("~/lake"), Ok(Place::Folder(path)) if path.is_absolute() && path.ends_with("lake")));
        assert_eq!(Place::of("~you/lake").err().map(|error| error.kind()), Some(ErrorKind::Usage));
    }

    #[test]
    fn only_a_folder_that_is_not_there_is_not_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("file"), "x").expect("written");
        std::fs::create_dir(path("lake")).expect("made");
        assert!(Store::find(&path("none")).expect("looked").is_none());
        assert!(Store::find(&path("lake")).expect("looked").is_some());
        for wrong in [path("file"), path("file/lake")] {
            let error = Store::find(&wrong).expect_err("refused");
            assert!(error.kind() == ErrorKind::Lake && error.to_string().contains(&wrong), "{error}");
        }
        assert_eq!(Store::find("ftp://x/y").expect_err("refused").kind(), ErrorKind::Usage);
    }
}
