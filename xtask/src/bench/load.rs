//! A closed loop over several kept connections, on one thread: each connection sends its next request
//! when it has its answer.
//!
//! One epoll loop instead of a thread for each connection, because the client shares its cores with what
//! it measures.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::bench::cpu;
use crate::bench::http::{self, ANSWER_LIMIT};
use crate::bench::series::Series;

/// Where requests go and how many at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The server.
    pub(crate) server: SocketAddr,
    /// Connections, each with one request under way.
    pub(crate) connections: usize,
    /// How long new requests are sent.
    pub(crate) length: Duration,
}

struct Lane {
    stream: TcpStream,
    sent: Instant,
    is_waiting: bool,
    received: Vec<u8>,
}

impl Load {
    /// Loads the server and adds what was measured to the series. `request` appends one request to the
    /// buffer. Returns the first answer that was not a success.
    pub(crate) fn run(
        &self,
        series: &mut Series,
        request: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<Option<String>> {
        self.run_judged(series, request, |_| true)
    }

    /// The same, where an answer with status 200 is a success only if `is_good` says so of it.
    pub(crate) fn run_judged(
        &self,
        series: &mut Series,
        request: &mut dyn FnMut(&mut Vec<u8>),
        is_good: fn(&[u8]) -> bool,
    ) -> Result<Option<String>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut lanes = self.open(&epoll)?;
        let (start, cpu_before) = (Instant::now(), cpu::of_this_thread());
        let mut buffer = Vec::with_capacity(1024);
        for lane in &mut lanes {
            lane.send(&mut buffer, request)?;
        }
        let mut refusal = None;
        let mut waiting = lanes.len();
        let mut events = Vec::with_capacity(lanes.len());
        while waiting > 0 {
            wait(&epoll, &mut events)?;
            for event in events.drain(..) {
                let Some(lane) = usize::try_from(event.data.u64()).ok().and_then(|at| lanes.get_mut(at))
                else {
                    continue;
                };
                let Some(status) = lane.receive()? else { continue };
                if status == 200 && is_good(&lane.received) {
                    series.latencies.push(lane.sent.elapsed());
                } else {
                    series.refused += 1;
                    refusal.get_or_insert_with(|| String::from_utf8_lossy(&lane.received).into_owned());
                }
                if start.elapsed() < self.length {
                    lane.send(&mut buffer, request)?;
                } else {
                    waiting -= 1;
                }
            }
        }
        series.wall += start.elapsed();
        *series.client_cpu.get_or_insert_default() += cpu::of_this_thread().saturating_sub(cpu_before);
        Ok(refusal)
    }

    fn open(&self, epoll: &OwnedFd) -> Result<Vec<Lane>> {
        let mut lanes = Vec::with_capacity(self.connections);
        for number in (0_u64..).take(self.connections) {
            let stream = TcpStream::connect(self.server).context("failed to connect to the server")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(epoll, &stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
            lanes.push(Lane {
                stream,
                sent: Instant::now(),
                is_waiting: false,
                received: Vec::with_capacity(4096),
            });
        }
        Ok(lanes)
    }
}

fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>) -> Result<()> {
    let limit = Timespec::try_from(ANSWER_LIMIT).context("the limit is too long")?;
    loop {
        match epoll::wait(epoll, spare_capacity(events), Some(&limit)) {
            Ok(0) => bail!("no answer within {} s", ANSWER_LIMIT.as_secs()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("failed to wait for answers"),
        }
    }
}

impl Lane {
    /// Sends one request. Requests are far smaller than a socket's buffer, so a short write is a fault.
    fn send(&mut self, buffer: &mut Vec<u8>, request: &mut dyn FnMut(&mut Vec<u8>)) -> Result<()> {
        buffer.clear();
        request(buffer);
        self.received.clear();
        self.is_waiting = true;
        self.sent = Instant::now();
        self.stream.write_all(buffer).context("failed to send a request")
    }

    /// Reads what has come; the status once the answer is complete.
    fn receive(&mut self) -> Result<Option<u16>> {
        let mut chunk = [0; 8 * 1024];
        let read = match self.stream.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("failed to read an answer"),
        };
        if read == 0 || !self.is_waiting {
            bail!("the server hung up, or spoke unasked");
        }
        self.received.extend_from_slice(&chunk[..read]);
        let answer = http::parse(&self.received)?;
        self.is_waiting = answer.is_none();
        Ok(answer.map(|answer| answer.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::floor;

    #[test]
    fn every_request_is_answered_on_every_connection() {
        let server = floor::start().unwrap();
        let load = Load { server, connections: 8, length: Duration::from_millis(50) };
        let mut series = Series::new("floor");
        let mut asked = 0;
        let refusal = load
            .run(&mut series, &mut |buffer| {
                asked += 1;
                http::post(buffer, server, "/", "{}");
            })
            .unwrap();
        assert_eq!((series.latencies.len(), series.refused, refusal), (asked, 0, None));
        assert!(asked >= 8 && series.wall >= load.length);
    }

    #[test]
    fn a_server_that_hangs_up_is_a_fault() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let closer = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let load = Load { server, connections: 1, length: Duration::from_millis(50) };
        assert!(load.run(&mut Series::new("gone"), &mut |buffer| buffer.push(b'x')).is_err());
        closer.join().unwrap();
    }
}
