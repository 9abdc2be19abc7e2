//! The listener and its connections, a thread each: a fault may hold one of them for as long as it likes.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::fault::Fault;
use crate::http::{Head, Response};
use crate::json;
use crate::service::Service;

/// A listener that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(listen: SocketAddr, service: Arc<Service>) -> io::Result<Self> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the double listens on loopback only"));
        }
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("cloudwatch-double".to_owned())
            .spawn(move || accept(&listener, &service, &stopped))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A connection of our own is what wakes the listener.
        if TcpStream::connect(self.address).is_ok() {
            self.thread.take().map(JoinHandle::join);
        }
    }
}

fn accept(listener: &TcpListener, service: &Arc<Service>, stop: &AtomicBool) {
    // Weak: a reset needs the connection's own handle on the socket to be the last one.
    let mut connections: Vec<(Weak<TcpStream>, JoinHandle<()>)> = Vec::new();
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        connections.retain(|(_, thread)| !thread.is_finished());
        let opened = stream.and_then(|stream| {
            let (stream, service) = (Arc::new(stream), Arc::clone(service));
            let handle = Arc::downgrade(&stream);
            // A connection that breaks off is the client's business.
            let thread = thread::Builder::new().spawn(move || drop(serve(&stream, &service)))?;
            Ok((handle, thread))
        });
        connections.extend(opened);
    }
    for (stream, thread) in connections {
        let _ = stream.upgrade().map(|stream| stream.shutdown(Shutdown::Both));
        let _ = thread.join();
    }
}

fn serve(mut stream: &TcpStream, service: &Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let head = match Head::read(&mut reader) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            Err(error) => return refuse(stream, &error),
        };
        if head.method == "GET" {
            stream.write_all(&json::answer(&head, service).bytes())?;
            continue;
        }
        let fault = service.state().script.next();
        if let Some(fault @ Fault::ResetBeforeBody) = fault {
            service.skip(&head, fault);
            return reset(stream);
        }
        let body = match head.body(&mut reader) {
            Ok(body) => body,
            Err(error) => return refuse(stream, &error),
        };
        match (service.take(&head, &body, fault), fault) {
            (Some(response), Some(Fault::Drip(pause))) => drip(stream, &response, pause)?,
            (Some(response), _) => stream.write_all(&response.bytes())?,
            (None, Some(Fault::ResetAfterStoring)) => return reset(stream),
            (None, _) => return hang(&mut reader),
        }
    }
}

/// Answers what is not HTTP as it should be, and ends the connection.
fn refuse(mut stream: &TcpStream, error: &io::Error) -> io::Result<()> {
    let mut response = Response::new(400, "text/plain", error.to_string());
    response.headers.push(("connection", "close".to_owned()));
    stream.write_all(&response.bytes())
}

/// Makes the end of the connection, which follows at once, one that the client sees as a reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn hang(reader: &mut BufReader<&TcpStream>) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while reader.read(&mut ignored)? > 0 {}
    Ok(())
}

fn drip(mut stream: &TcpStream, response: &Response, pause: Duration) -> io::Result<()> {
    for byte in response.bytes().chunks(1) {
        stream.write_all(byte)?;
        thread::sleep(pause);
    }
    Ok(())
}
