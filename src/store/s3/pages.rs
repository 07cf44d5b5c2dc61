//! A listing, page after page, of which nothing is believed that can be checked.
//!
//! Every name begins with what was asked for, stands after the one before it and after where the listing was to begin;
//! a page after which more follows says how to ask for it, and never twice the same way. So a listing that breaks off,
//! repeats itself or goes in circles is an error that says what the store did, and every listing ends. What no page can
//! show is that names were left out of it: who needs to know that asks for them by name.

use std::collections::HashSet;

use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};

use super::listing::{ListAnswer, ListPage, ListedObjects};

/// How many pages a listing may have: at the usual thousand names a page more than a machine could hold.
const MOST_PAGES: usize = 20_000;
/// How many names a listing may have.
const MOST_NAMES: usize = 5_000_000;
/// How many pages in a row may bring nothing new. Stores skip over what was deleted, but not for ever.
const MOST_IDLE_PAGES: usize = 100;

/// What is listed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListQuery<'a> {
    /// What names begin with.
    pub(crate) prefix: &'a str,
    /// Names come after this one.
    pub(crate) after: Option<&'a str>,
    /// Whether what stands behind the next slash is left out.
    pub(crate) folders_only: bool,
    /// How many names a page may have, instead of what the store likes.
    pub(crate) page_names: Option<usize>,
}

/// Everything that was listed, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(super) objects: Vec<ListedObjects>,
    pub(super) folders: Vec<Vec<u8>>,
    pub(super) pages: usize,
}

/// Why there is no listing.
#[derive(Debug)]
pub(crate) enum Unlisted {
    /// The store did not answer, or refused.
    Failed(object_store::Error),
    /// It answered something that cannot be true.
    Unbelievable(String),
}

/// Lists everything that a query asks for.
pub(super) async fn list(client: &AmazonS3, query: ListQuery<'_>) -> Result<Listing, Unlisted> {
    let mut checked = Checked::default();
    let mut token = None;
    loop {
        let options = PaginatedListOptions {
            offset: query.after.map(str::to_owned),
            delimiter: query.folders_only.then(|| "/".into()),
            max_keys: query.page_names,
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let prefix = Some(query.prefix).filter(|prefix| !prefix.is_empty());
        let answered = client.list_paginated(prefix, options).await.map_err(Unlisted::Failed)?;
        // Put there by the client's HTTP service.
        let page = match answered.result.extensions.get::<ListAnswer>() {
            Some(ListAnswer::ListPage(page)) => page.clone(),
            Some(ListAnswer::Nonsense(why)) => return Err(Unlisted::Unbelievable(why.clone())),
            Some(ListAnswer::Conflict) | None => return Err(Unlisted::Unbelievable("there is no response".to_owned())),
        };
        token = checked.take(page, query).map_err(Unlisted::Unbelievable)?;
        if token.is_none() {
            return Ok(checked.listing);
        }
    }
}

/// The pages so far.
#[derive(Default)]
struct Checked {
    listing: Listing,
    tokens: HashSet<String>,
    idle: usize,
}

impl Checked {
    /// Takes the next page in, and says how to ask for the one after it.
    fn take(&mut self, page: ListPage, query: ListQuery<'_>) -> Result<Option<String>, String> {
        let nth = self.listing.pages + 1;
        let before = [self.listing.objects.last().map(|last| &last.key), self.listing.folders.last()];
        let before = before.into_iter().flatten().max().cloned();
        // Stores may name a folder again that goes on behind the end of a page.
        let again = self.listing.folders.last().is_some_and(|last| page.folders.first() == Some(last));
        let folders = &page.folders[usize::from(again)..];
        for (names, what) in [
            (page.objects.iter().map(|object| &object.key).collect::<Vec<_>>(), "name"),
            (folders.iter().collect::<Vec<_>>(), "folder"),
        ] {
            check_names(&names, what, before.as_ref(), query).map_err(|why| format!("page {nth} {why}"))?;
        }
        let is_idle = page.objects.is_empty() && folders.is_empty();
        self.idle = if is_idle { self.idle + 1 } else { 0 };
        self.listing.folders.extend_from_slice(folders);
        self.listing.objects.extend(page.objects);
        self.listing.pages = nth;
        match page.token {
            None if page.is_truncated && page.is_first_version => Err(format!(
                "page {nth} breaks off and names no token to go on with: the store answers the first version of the request"
            )),
            None if page.is_truncated => Err(format!("page {nth} breaks off and names no token to go on with")),
            None => Ok(None),
            Some(_) if nth >= MOST_PAGES || self.listing.objects.len() >= MOST_NAMES => {
                Err(format!("after {nth} pages there is no end"))
            }
            Some(_) if self.idle >= MOST_IDLE_PAGES => Err(format!("{} pages in a row bring nothing new", self.idle)),
            Some(token) if !self.tokens.insert(token.clone()) => {
                Err(format!("page {nth} names a token that an earlier page has named"))
            }
            Some(token) => Ok(Some(token)),
        }
    }
}

fn check_names(names: &[&Vec<u8>], what: &str, before: Option<&Vec<u8>>, query: ListQuery<'_>) -> Result<(), String> {
    let shown = |name: &[u8]| String::from_utf8_lossy(name).escape_debug().to_string();
    if let Some(name) = names.iter().find(|name| !name.starts_with(query.prefix.as_bytes())) {
        return Err(format!("shows the {what} `{}`, which does not begin with `{}`", shown(name), query.prefix));
    }
    if let (Some(after), Some(name)) = (query.after, names.iter().min())
        && name.as_slice() <= after.as_bytes()
    {
        return Err(format!(
            "shows the {what} `{}`, although only what comes after `{after}` was asked for",
            shown(name)
        ));
    }
    if let (Some(before), Some(name)) = (before, names.first())
        && *name <= before
    {
        return Err(format!(
            "shows the {what} `{}` after `{}`: it repeats names, or does not order them",
            shown(name),
            shown(before)
        ));
    }
    match names.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!(
            "shows the {what} `{}` after `{}`: it repeats names, or does not order them",
            shown(pair[1]),
            shown(pair[0])
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str], token: Option<&str>) -> ListPage {
        let object = |name: &&str| ListedObjects { key: name.as_bytes().to_vec(), bytes: 1 };
        ListPage {
            objects: names.iter().map(object).collect(),
            is_truncated: token.is_some(),
            token: token.map(str::to_owned),
            ..ListPage::default()
        }
    }

    fn folders(names: &[&str], token: Option<&str>) -> ListPage {
        ListPage { folders: names.iter().map(|name| name.as_bytes().to_vec()).collect(), ..page(&[], token) }
    }

    /// Takes pages in until one is refused or none follows.
    fn taken(query: ListQuery<'_>, pages: impl IntoIterator<Item = ListPage>) -> Result<Listing, String> {
        let mut checked = Checked::default();
        for page in pages {
            if checked.take(page, query)?.is_none() {
                break;
            }
        }
        Ok(checked.listing)
    }

    fn refused(query: ListQuery<'_>, pages: impl IntoIterator<Item = ListPage>, word: &str) {
        let why = taken(query, pages).expect_err("refused");
        assert!(why.contains(word), "`{word}` is missing: {why}");
    }

    #[test]
    fn pages_add_up() {
        let query = ListQuery { prefix: "l/", after: Some("l/a"), ..ListQuery::default() };
        let pages = [page(&["l/b", "l/c"], Some("1")), page(&[], Some("2")), page(&["l/d"], None)];
        let listing = taken(query, pages).expect("taken");
        assert_eq!((listing.objects.len(), listing.pages), (3, 3));
        let query = ListQuery { prefix: "l/", folders_only: true, ..ListQuery::default() };
        let pages = [folders(&["l/a/", "l/b/"], Some("1")), folders(&["l/b/", "l/c/"], None)];
        assert_eq!(taken(query, pages).expect("a folder may be named again").folders.len(), 3);
        assert_eq!(taken(ListQuery::default(), [page(&[], None)]), Ok(Listing { pages: 1, ..Listing::default() }));
    }

    #[test]
    fn a_listing_that_contradicts_itself_is_refused() {
        let all = ListQuery::default();
        let cut = |first| ListPage { is_truncated: true, is_first_version: first, ..page(&["a"], None) };
        refused(all, [cut(false)], "page 1 breaks off and names no token");
        refused(all, [cut(true)], "first version");
        refused(all, [page(&["A"], Some("1")), cut(false)], "page 2 breaks off");
        refused(all, [page(&["b", "a"], None)], "does not order them");
        refused(all, [page(&["a", "a"], None)], "`a` after `a`");
        refused(all, [page(&["a", "b"], Some("1")), page(&["a", "b"], Some("2"))], "page 2 shows the name `a`");
        refused(all, [page(&["a"], Some("1")), page(&["b"], Some("1"))], "page 2 names a token that an earlier page");
        refused(all, [folders(&["a/", "b/"], Some("1")), folders(&["a/"], None)], "the folder `a/`");
        let part = ListQuery { prefix: "l/a=b/", ..all };
        refused(part, [page(&["l/a%3Db/c"], None)], "does not begin with `l/a=b/`");
        let later = ListQuery { after: Some("b"), ..all };
        refused(later, [page(&["b", "c"], None)], "only what comes after `b`");
    }

    #[test]
    fn every_listing_ends() {
        let tokens = || (0..).map(|n: u64| n.to_string());
        refused(
            ListQuery::default(),
            tokens().map(|token| page(&[], Some(&token))),
            "pages in a row bring nothing new",
        );
        let same = tokens().map(|token| folders(&["a/"], Some(&token)));
        refused(ListQuery::default(), same, "pages in a row bring nothing new");
        let invented = tokens().map(|token| page(&[&format!("{token:0>20}")], Some(&token)));
        refused(ListQuery::default(), invented, "there is no end");
    }
}
