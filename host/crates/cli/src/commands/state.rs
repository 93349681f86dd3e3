//! `althing state`: the keys and values that a program keeps.

use crate::{
    commands::query::Freshness,
    context::Context,
    show::{
        blob::{Blob, Key},
        state::{PairShown, StateShown},
    },
};
use althing_client::{Community, Consistency};
use bytes::Bytes;
use clap::Args;

/// Keys of one request.
const PAGE: u32 = 1024;

const EXAMPLES: &str = "\
Examples:
  althing state roster
  althing state roster --prefix member/infra/
  althing state roster --output json | jq '.pairs | length'";

/// Shows the program's state, in the order of its keys.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct State {
    /// The community, by name or id.
    community: String,
    /// Only keys that begin so; `0x` and hexadecimal digits for bytes that are no text.
    #[arg(long, default_value = "", value_parser = key)]
    prefix: Bytes,
    /// How many keys to show at most.
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    freshness: Freshness,
}

impl State {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let community = context.client().await?.community(self.community.clone());
        Ok(context.print(&self.read(&community).await?)?)
    }

    /// Reads page by page. Each page is of one state; a state that moved in between is told.
    async fn read(&self, community: &Community) -> anyhow::Result<StateShown> {
        let end = after_prefix(&self.prefix);
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut start = Some(self.prefix.clone());
        let mut consistency = self.freshness.consistency();
        let mut shown: Option<StateShown> = None;
        while let Some(from) = start.filter(|_| left > 0) {
            let limit = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let page = community.scan(from, end.clone(), limit, consistency).await?;
            left = left.saturating_sub(page.pairs.len() as u64);
            let all = shown.get_or_insert_with(|| StateShown::beginning(page.sequence.0));
            all.until_sequence = page.sequence.0;
            all.digest = page.digest.to_string();
            all.more = page.next.is_some();
            let pairs = page.pairs.into_iter();
            all.pairs.extend(pairs.map(|(key, value)| PairShown { key: Key(key), value: Blob(value) }));
            // Never back to an older state.
            consistency = match consistency {
                Consistency::Local => Consistency::Local,
                Consistency::Linearizable | Consistency::AtLeast(_) => Consistency::AtLeast(page.sequence),
            };
            start = page.next;
        }
        shown.ok_or_else(|| anyhow::anyhow!("nothing was asked for: the limit is 0"))
    }
}

/// Where the keys that begin with `prefix` end; none if they end with all keys.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

/// Parses a key as [`Key`] shows it.
fn key(text: &str) -> Result<Bytes, String> {
    match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).map(Bytes::from).map_err(|error| error.to_string()),
        None => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::{after_prefix, key};
    use bytes::Bytes;

    #[test]
    fn the_keys_of_a_prefix_end_before_the_next_one() {
        assert_eq!(after_prefix(b"team/"), Some(Bytes::from_static(b"team0")));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(Bytes::from_static(b"b")));
        assert_eq!(after_prefix(b""), None);
        assert_eq!(after_prefix(b"\xff"), None);
    }

    #[test]
    fn keys_are_given_as_they_are_shown() {
        assert_eq!(key("team/infra"), Ok(Bytes::from_static(b"team/infra")));
        assert_eq!(key("0x00ff"), Ok(Bytes::from_static(b"\x00\xff")));
        assert!(key("0xzz").is_err());
    }
}
