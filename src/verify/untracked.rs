//! What lies in a lake that no lake makes: of consoles, of other programs, under names of any shape. It stops nothing
//! and is told of.

use crate::error::Result;
use crate::log::layout::is_of_a_lake;
use crate::store::Store;

/// The names under the root of a lake that are of none of its accounts, in their order. The whole lake is listed.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
pub(crate) async fn untracked(store: &Store) -> Result<Vec<String>> {
    Ok(store.names("").await?.into_iter().filter(|name| !is_of_a_lake(name)).collect())
}
