//! Downloading an archive: http and https, to hosts that are no part of this machine.
//!
//! What an address and its redirects lead to is judged by the network addresses that are connected to, not by names: a name
//! may stand for anything. The query of an address may be a signature, so no error names more than what is shown of it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::domain::code::ArchiveUrl;
use crate::domain::tree::BYTES_MAX;
use crate::domain::units::Bytes;
use crate::hands::code::listing::refused;
use crate::hands::code::store::NEW;

const REDIRECTS_MAX: u32 = 5;
const CONNECT: Duration = Duration::from_secs(20);
/// From the first byte to the last.
const WHOLE: Duration = Duration::from_mins(10);

/// Downloads an archive into a file beside what is kept.
pub(super) fn fetch(url: &ArchiveUrl, beside: &Path) -> io::Result<NamedTempFile> {
    fetch_by(url, beside, is_elsewhere)
}

fn fetch_by(url: &ArchiveUrl, beside: &Path, may: fn(IpAddr) -> bool) -> io::Result<NamedTempFile> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .max_redirects(REDIRECTS_MAX)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(WHOLE))
        .tls_config(tls)
        // A proxy would be asked for names that it resolves by itself.
        .proxy(None)
        .build();
    let agent = Agent::with_parts(config, DefaultConnector::default(), Guarded { may });
    let failed = |error: ureq::Error| refused(format!("cannot download {url}: {}", told(&error)));
    let mut answer = agent.get(url.secret()).call().map_err(failed)?;
    let mut file = NamedTempFile::with_prefix_in(NEW, beside)?;
    let mut body = answer.body_mut().with_config().limit(BYTES_MAX + 1).reader();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0_u64;
    loop {
        let read = body.read(&mut buffer);
        let read = read.map_err(|error| refused(format!("cannot download {url}: {error}")))?;
        bytes += read as u64;
        if bytes > BYTES_MAX {
            return Err(refused(format!("{url} is larger than {}", Bytes(BYTES_MAX))));
        }
        if read == 0 {
            return Ok(file);
        }
        file.write_all(buffer.get(..read).unwrap_or(&buffer))?;
    }
}

/// An error without the address that it may hold.
fn told(error: &ureq::Error) -> String {
    if matches!(error, ureq::Error::BadUri(_)) {
        return "the address, or one that it redirects to, is none".to_owned();
    }
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Resolves names, and passes only addresses that may be connected to. Redirects come through here, too.
#[derive(Debug)]
struct Guarded {
    may: fn(IpAddr) -> bool,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let inside = found.iter().map(SocketAddr::ip).find(|address| !(self.may)(*address));
        match inside {
            None => Ok(found),
            Some(address) => Err(ureq::Error::Io(io::Error::other(format!(
                "it leads to {address}, which is this machine or its own network link"
            )))),
        }
    }
}

/// Whether an address is of another host: neither loopback nor link-local, nor one that means this machine.
fn is_elsewhere(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_elsewhere_v4(address),
        IpAddr::V6(address) => is_elsewhere_v6(address),
    }
}

fn is_elsewhere_v4(address: Ipv4Addr) -> bool {
    let this_network = address.octets().first() == Some(&0);
    !(address.is_loopback()
        || address.is_link_local()
        || this_network
        || address.is_broadcast()
        || address.is_multicast())
}

fn is_elsewhere_v6(address: Ipv6Addr) -> bool {
    // `::7f00:1` and `64:ff9b::7f00:1` carry addresses of the other family.
    let embedded = match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_elsewhere_v4(Ipv4Addr::new(a, b, c, d))
        }
        _ => true,
    };
    embedded
        && !(address.is_loopback()
            || address.is_unspecified()
            || address.is_unicast_link_local()
            || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::net::TcpListener;

    use super::*;

    /// A server that gives each request the next of these answers, and tells what it was asked.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let serve_one = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = io::BufReader::new(stream.try_clone().unwrap()).lines();
                let asked = lines.next().unwrap().unwrap();
                while !lines.next().unwrap().unwrap().is_empty() {}
                stream.write_all(answer.as_bytes()).unwrap();
                asked
            };
            answers.into_iter().map(serve_one).collect()
        });
        (at, thread)
    }

    fn ok(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn redirect(to: &str) -> String {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    }

    fn get(url: &str, may: fn(IpAddr) -> bool) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let url = ArchiveUrl::parse(url).unwrap();
        let file = fetch_by(&url, dir.path(), may).map_err(|error| error.to_string())?;
        Ok(fs_err::read(file.path()).unwrap())
    }

    #[test]
    fn an_archive_is_downloaded_with_its_query() {
        let (at, server) = serve(vec![ok("packed")]);
        assert_eq!(get(&format!("{at}/x.tgz?sig=secret"), |_| true).unwrap(), b"packed");
        assert_eq!(server.join().unwrap(), ["GET /x.tgz?sig=secret HTTP/1.1"]);
    }

    #[test]
    fn this_machine_is_not_asked_whatever_leads_there() {
        for url in [
            "http://127.0.0.1:1/x",
            "http://localhost:1/x",
            "http://[::1]:1/x",
            "http://2130706433/x",
        ] {
            let error = get(url, is_elsewhere).unwrap_err();
            assert!(error.contains("which is this machine"), "{url}: {error}");
        }
        // The first address is good, and the one that it redirects to is not.
        fn is_not_link_local(address: IpAddr) -> bool {
            address.is_loopback()
        }
        let (at, server) = serve(vec![redirect("http://169.254.169.254/latest/meta-data?key=1")]);
        let error = get(&format!("{at}/x.tgz?sig=secret"), is_not_link_local).unwrap_err();
        assert!(error.contains("it leads to 169.254.169.254"), "{error}");
        assert!(!error.contains("secret") && !error.contains("key="), "{error}");
        server.join().unwrap();
        let (at, server) = serve(vec![redirect("file:///etc/passwd")]);
        let error = get(&format!("{at}/x.tgz"), |_| true).unwrap_err();
        assert!(!error.contains("root:"), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn addresses_of_this_machine_are_known_in_all_their_forms() {
        for here in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "169.254.1.1",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(!is_elsewhere(here.parse().unwrap()), "{here}");
        }
        for there in ["10.0.0.1", "192.168.1.1", "140.82.121.4", "2606:50c0:8000::153", "fd00::1"] {
            assert!(is_elsewhere(there.parse().unwrap()), "{there}");
        }
    }

    #[test]
    fn a_refusal_is_told_without_the_query() {
        let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let (at, server) = serve(vec![refused.to_owned()]);
        let error = get(&format!("{at}/x.tgz?sig=secret"), |_| true).unwrap_err();
        assert_eq!(error, format!("cannot download {at}/x.tgz: http status: 403"));
        server.join().unwrap();
    }
}
