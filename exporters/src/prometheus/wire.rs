//! A client's connection as hyper sees it, with two promises added: what is sent is gone within a time, and whoever has
//! shut its own side down after the request still gets the answer.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connections::Client;

/// How long an answer, or an event of a stream, may take to leave; who reads less in that time is let go.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Wire<S> {
    pub(super) stream: S,
    client: Arc<Client>,
    /// Runs while something waits to be sent.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The client has said all it wants to, and hyper does not know yet.
    ended: bool,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, client: Arc<Client>) -> Self {
        Self { stream, client, deadline: None, ended: false }
    }

    /// Lets nothing wait beyond the deadline. It is one for the whole answer: a byte now and then does not move it.
    fn in_time<T>(&mut self, context: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_pending() {
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(ANSWER_PATIENCE)));
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        sent
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        // hyper takes the end for the end of both sides, or would not see it at all (`half_close`) and so keep streams
        // that nobody reads.
        let end = buffer.remaining() == before;
        if !end {
            self.client.heard();
        }
        self.ended = end && self.client.waits_for_answer();
        if self.ended { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all there was.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_flush(context);
        ready!(self.in_time(context, sent))?;
        self.deadline = None;
        self.client.sent();
        if self.ended && !self.client.waits_for_answer() {
            context.waker().wake_by_ref(); // hyper may read the end now
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.in_time(context, ended)
    }
}
