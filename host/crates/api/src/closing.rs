//! Streams that end when the door closes.

use crate::refused::refused;
use althing_core::refusal::{Code, Refusal};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tonic::Status;

/// The stream until `closing` resolves; then a status that says so, and nothing more.
pub(crate) fn until<T: Send + 'static>(
    closing: impl Future<Output = ()> + Send + 'static,
    stream: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    let state = Some((stream, Box::pin(closing)));
    let next = |state: Option<(BoxStream<'static, Result<T, Status>>, _)>| async move {
        let (mut stream, mut closing) = state?;
        tokio::select! {
            biased;
            () = &mut closing => Some((Err(shutting_down()), None)),
            item = stream.next() => Some((item?, Some((stream, closing)))),
        }
    };
    stream::unfold(state, next).boxed()
}

fn shutting_down() -> Status {
    refused(Refusal::new(Code::ShuttingDown, "this node is shutting down: go on at another one"))
}

#[cfg(test)]
mod tests {
    use super::until;
    use futures::{FutureExt as _, StreamExt as _, future, stream};
    use tonic::Code;

    #[test]
    fn a_stream_that_ends_by_itself_ends_without_a_word() {
        let items = until(future::pending(), stream::iter([Ok(1), Ok(2)]).boxed());
        let items: Vec<i32> = items.map(|item| item.unwrap()).collect().now_or_never().unwrap();
        assert_eq!(items, [1, 2]);
    }

    #[test]
    fn a_stream_that_goes_on_ends_with_a_status_when_the_door_closes() {
        let mut items = until(future::ready(()), stream::repeat(Ok(1)).boxed());
        let status = items.next().now_or_never().unwrap().unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(items.next().now_or_never().unwrap().is_none());
    }
}
