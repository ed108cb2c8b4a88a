//! Every service over real HTTP, well and badly behaved.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::*;
use crate::places::{Service, Source};

const KEY: &str = "AIza-not_a.real~key";

const UCLA: Search = Search { latitude: 34.068930, longitude: -118.445127, radius_km: 10, bound: 2 };

const ALL: [Api; 3] = [Api::Google, Api::GoogleLegacy, Api::Overpass];

/// What the server does with one request.
#[derive(Clone)]
enum Behaviour {
    /// These bytes, then the end of the connection.
    Says(String),
    /// These bytes as soon as it is allowed to.
    Waits(Arc<Notify>, String),
    /// Nothing, for as long as the client stays.
    IsSilent,
    /// A body without an end.
    NeverEnds,
    /// The end of the connection without a word.
    HangsUp,
}

/// A local server that does what it is told, the last of it again and again, and keeps every request.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(script: impl IntoIterator<Item = Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script: Vec<_> = script.into_iter().collect();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, script, Arc::clone(&requests)));
        Self { address, requests, _tasks: tasks }
    }

    /// As they came, with a fixed host in place of the server's.
    fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("no test panics holding it");
        requests.iter().map(|request| request.replace(&self.address, "HOST")).collect()
    }
}

async fn serve(listener: TcpListener, script: Vec<Behaviour>, requests: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let (script, requests) = (script.clone(), Arc::clone(&requests));
        connections.spawn(async move {
            let Some(request) = read_request(&mut stream).await else { return };
            let turn = {
                let mut requests = requests.lock().expect("no test panics holding it");
                requests.push(request);
                requests.len().min(script.len()) - 1
            };
            behave(&mut stream, &script[turn]).await;
        });
    }
}

/// The head and the body that its `content-length` announces.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().expect("a number") {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn behave(stream: &mut TcpStream, behaviour: &Behaviour) {
    match behaviour {
        Behaviour::Says(reply) => drop(stream.write_all(reply.as_bytes()).await),
        Behaviour::Waits(permission, reply) => {
            permission.notified().await;
            let _ = stream.write_all(reply.as_bytes()).await;
        }
        Behaviour::IsSilent => drop(stream.read_u8().await),
        Behaviour::NeverEnds => {
            let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
        Behaviour::HangsUp => {}
    }
}

/// A whole HTTP reply. `status` may hold further header lines.
fn http(status: &str, body: &str) -> Behaviour {
    Behaviour::Says(http_text(status, body))
}

fn http_text(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// Two places, the farther one first, in the words of each service.
fn found(api: Api) -> &'static str {
    match api {
        Api::Google => {
            r#"{"places": [
  {"id": "ChIJ2", "types": ["library"], "shortFormattedAddress": "280 Charles E Young Dr, Los Angeles",
   "location": {"latitude": 34.0717, "longitude": -118.4422}, "displayName": {"text": "Powell Library", "languageCode": "en"}},
  {"id": "ChIJ1", "types": ["cafe", "food"], "location": {"latitude": 34.0685, "longitude": -118.4453},
   "displayName": {"text": "Caf\u00e9 \"Kiwi\""}, "attributions": [{"provider": "A & B", "providerUri": "https://example.org/"}]},
  {"id": "ChIJ3", "location": {"latitude": 34.0, "longitude": -118.4}, "displayName": {"text": "one too many"}}
]}"#
        }
        Api::GoogleLegacy => {
            "{\n   \"html_attributions\" : [ \"<b>Listings by A</b>\" ],\n   \"next_page_token\" : \"CpQ\",\n   \"results\" : [\r\n      {\n         \"name\" : \"Powell Library\",\n\n\n         \"rating\" : 4.80000000000000001\n      },\n      { \"name\" : \"Café\" },\n      { \"name\" : \"one too many\" }\n   ],\n   \"status\" : \"OK\"\n}\n"
        }
        Api::Overpass => {
            r#"{"version": 0.6, "elements": [
  {"type": "way", "id": 7, "center": {"lat": 34.0717, "lon": -118.4422}, "tags": {"amenity": "library", "name": "Powell Library",
   "addr:housenumber": "280", "addr:street": "Charles E Young Drive", "addr:city": "Los Angeles"}},
  {"type": "node", "id": 9, "lat": 34.0685, "lon": -118.4453, "tags": {"amenity": "cafe", "name": "Café \"Kiwi\""}},
  {"type": "node", "id": 11, "lat": 34.2, "lon": -118.4453, "tags": {"amenity": "bar", "name": "one too many"}}
]}"#
        }
    }
}

/// The same, as a client sees it.
fn shown(api: Api) -> &'static str {
    match api {
        Api::Google => {
            r#"{
  "html_attributions": [
    "<a href=\"https://example.org/\">A &amp; B</a>"
  ],
  "results": [
    {"name": "Powell Library", "vicinity": "280 Charles E Young Dr, Los Angeles", "geometry": {"location": {"lat": 34.0717, "lng": -118.4422}}, "place_id": "ChIJ2", "types": ["library"]},
    {"name": "Café \"Kiwi\"", "geometry": {"location": {"lat": 34.0685, "lng": -118.4453}}, "place_id": "ChIJ1", "types": ["cafe", "food"]}
  ],
  "status": "OK"
}"#
        }
        Api::GoogleLegacy => {
            r#"{
  "html_attributions": [
    "<b>Listings by A</b>"
  ],
  "results": [
    {
         "name" : "Powell Library",
         "rating" : 4.80000000000000001
      },
    { "name" : "Café" }
  ],
  "status": "OK"
}"#
        }
        Api::Overpass => {
            r#"{
  "html_attributions": [
    "Data by <a href=\"https://www.openstreetmap.org/copyright\">OpenStreetMap contributors</a>, <a href=\"https://opendatacommons.org/licenses/odbl/1-0/\">ODbL 1.0</a>"
  ],
  "results": [
    {"name": "Café \"Kiwi\"", "geometry": {"location": {"lat": 34.0685, "lng": -118.4453}}, "place_id": "osm:node/9", "types": ["cafe"]},
    {"name": "Powell Library", "vicinity": "280 Charles E Young Drive, Los Angeles", "geometry": {"location": {"lat": 34.0717, "lng": -118.4422}}, "place_id": "osm:way/7", "types": ["library"]}
  ],
  "status": "OK"
}"#
        }
    }
}

/// What each service says when it knows nothing near.
fn nothing(api: Api) -> &'static str {
    match api {
        Api::Google => "{}",
        Api::GoogleLegacy => r#"{"html_attributions": [], "results": [], "status": "ZERO_RESULTS"}"#,
        Api::Overpass => r#"{"elements": []}"#,
    }
}

fn config(server: &str) -> config::Places {
    // Longer than any test may take, so that a test whose search waits for its end does not pass.
    let timeout = Duration::from_secs(600);
    config::Places { base_url: Some(format!("http://{server}")), timeout, retries: 2, ..config::Places::default() }
}

/// The service without the pace that it would keep in public.
fn open(api: Api, config: &config::Places) -> Service {
    let mut network = Network::open(api, config, Some(KEY.into())).expect("opened");
    network.pace = None;
    Service(Source::Network(Arc::new(network)))
}

/// The answer to a search when the server behaves like this, and the requests it got.
async fn search(api: Api, script: impl IntoIterator<Item = Behaviour>) -> (String, Vec<String>) {
    let server = Server::start(script).await;
    let answer = text(open(api, &config(&server.address)).search(&UCLA)).await;
    (answer, server.requests())
}

async fn text(answer: impl Future<Output = Answer>) -> String {
    String::from_utf8(answer.await.json.to_vec()).expect("text")
}

/// Checks that an answer has the shape of a failure; gives its status and its message.
fn failure(answer: &str) -> (String, String) {
    let mut answer: Value = serde_json::from_str(answer).expect("JSON");
    let [status, message] = ["status", "error_message"].map(|key| match answer[key].take() {
        Value::String(text) => text,
        other => panic!("{key} is {other}"),
    });
    let rest = json!({"error_message": null, "html_attributions": [], "results": [], "status": null});
    assert_eq!(answer, rest);
    (status, message)
}

#[tokio::test]
async fn places_are_asked_for_in_the_words_of_the_service() {
    let expected = |api| match api {
        Api::Google => {
            "POST /v1/places:searchNearby HTTP/1.1\r\n\
             x-goog-api-key: AIza-not_a.real~key\r\n\
             x-goog-fieldmask: places.attributions,places.displayName,places.id,places.location,places.shortFormattedAddress,places.types\r\n\
             content-type: application/json\r\n\
             accept: */*\r\n\
             user-agent: herdsim/VERSION\r\n\
             host: HOST\r\n\
             content-length: 127\r\n\
             \r\n\
             {\"maxResultCount\":2,\"locationRestriction\":{\"circle\":{\"center\":{\"latitude\":34.06893,\"longitude\":-118.445127},\"radius\":10000.0}}}"
        }
        Api::GoogleLegacy => {
            "GET /maps/api/place/nearbysearch/json?location=34.06893,-118.445127&radius=10000&key=AIza-not_a.real~key HTTP/1.1\r\n\
             accept: */*\r\n\
             user-agent: herdsim/VERSION\r\n\
             host: HOST\r\n\
             \r\n"
        }
        Api::Overpass => {
            "POST /api/interpreter HTTP/1.1\r\n\
             content-type: application/x-www-form-urlencoded\r\n\
             accept: */*\r\n\
             user-agent: herdsim/VERSION\r\n\
             host: HOST\r\n\
             content-length: 132\r\n\
             \r\n\
             data=%5Bout%3Ajson%5D%5Btimeout%3A600%5D%3Bnwr%28around%3A10000%2C34.06893%2C-118.445127%29%5Bamenity%5D%5Bname%5D%3Bout+center+2%3B"
        }
    };
    for api in ALL {
        let (_, requests) = search(api, [http("200 OK", nothing(api))]).await;
        let expected = expected(api).replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert_eq!(requests, [expected]);
    }
}

#[tokio::test]
async fn every_service_answers_in_the_same_shape_and_within_the_bound() {
    for api in ALL {
        let (answer, _) = search(api, [http("200 OK", found(api))]).await;
        assert_eq!(answer, shown(api));
    }
}

#[tokio::test]
async fn nothing_near_is_zero_results() {
    for api in ALL {
        let (answer, _) = search(api, [http("200 OK", nothing(api))]).await;
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!((&answer["status"], &answer["results"]), (&json!("ZERO_RESULTS"), &json!([])), "{api:?}");
    }
}

#[tokio::test]
async fn a_search_that_can_find_nothing_asks_nobody() {
    for api in ALL {
        let server = Server::start([Behaviour::HangsUp]).await;
        let service = open(api, &config(&server.address));
        for empty in [Search { radius_km: 0, ..UCLA }, Search { bound: 0, ..UCLA }] {
            let answer = service.immediate(&empty).expect("at hand");
            assert_eq!(
                answer.json,
                "{\n  \"html_attributions\": [],\n  \"results\": [],\n  \"status\": \"ZERO_RESULTS\"\n}"
            );
            assert_eq!(service.search(&empty).await, answer);
        }
        assert_eq!(service.immediate(&UCLA), None);
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn a_refused_connection_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    for api in ALL {
        let answer = text(open(api, &config(&address)).search(&UCLA)).await;
        let (status, message) = failure(&answer);
        assert_eq!(status, "UNKNOWN_ERROR");
        assert_eq!(message, "cannot connect to the places service: Connection refused (os error 111)");
    }
}

#[tokio::test]
async fn a_silent_service_is_an_answer_when_the_time_is_over() {
    for api in ALL {
        let server = Server::start([Behaviour::IsSilent]).await;
        let config = config::Places { timeout: Duration::from_millis(100), ..config(&server.address) };
        let (status, message) = failure(&text(open(api, &config).search(&UCLA)).await);
        assert_eq!(status, "UNKNOWN_ERROR");
        assert_eq!(message, "no answer from the places service within 100ms");
    }
}

#[tokio::test]
async fn an_http_error_is_an_answer_with_the_status_code_that_means_it() {
    let body = r#"{"error": {"code": 0, "message": "Not today.", "status": "NO_WAY"}}"#;
    let statuses = [
        ("400 Bad Request", "INVALID_REQUEST"),
        ("401 Unauthorized", "REQUEST_DENIED"),
        ("403 Forbidden", "REQUEST_DENIED"),
        ("404 Not Found", "UNKNOWN_ERROR"),
        ("302 Found\r\nlocation: /elsewhere", "UNKNOWN_ERROR"),
        ("500 Internal Server Error", "UNKNOWN_ERROR"),
        ("502 Bad Gateway", "UNKNOWN_ERROR"),
    ];
    for api in ALL {
        for (http_status, expected) in statuses {
            let (answer, requests) = search(api, [http(http_status, body)]).await;
            let (status, message) = failure(&answer);
            assert_eq!(status, expected);
            let said = http_status.lines().next().expect("a line");
            let detail = if api == Api::Google { ": NO_WAY: Not today." } else { "" };
            assert_eq!(message, format!("the places service answered HTTP {said}{detail}"));
            assert_eq!(requests.len(), 1, "nobody asked for a repetition");
        }
    }
}

#[tokio::test]
async fn google_legacy_says_in_its_body_what_is_wrong() {
    let body = r#"{"error_message": "The provided API key is expired.", "html_attributions": [], "results": [], "status": "REQUEST_DENIED"}"#;
    let (answer, requests) = search(Api::GoogleLegacy, [http("200 OK", body)]).await;
    assert_eq!(failure(&answer), ("REQUEST_DENIED".into(), "The provided API key is expired.".into()));
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn google_legacy_over_quota_is_asked_again() {
    let over =
        http("200 OK\r\nretry-after: 0", r#"{"html_attributions": [], "results": [], "status": "OVER_QUERY_LIMIT"}"#);
    let (answer, requests) = search(Api::GoogleLegacy, [over.clone()]).await;
    assert_eq!(failure(&answer), ("OVER_QUERY_LIMIT".into(), "the places service answered OVER_QUERY_LIMIT".into()));
    assert_eq!(requests.len(), 3);
    let (answer, _) = search(Api::GoogleLegacy, [over, http("200 OK", found(Api::GoogleLegacy))]).await;
    assert_eq!(answer, shown(Api::GoogleLegacy));
}

#[tokio::test]
async fn overpass_breaks_off_with_a_remark() {
    let body = r#"{"elements": [], "remark": "runtime error: Query timed out"}"#;
    let (answer, _) = search(Api::Overpass, [http("200 OK", body)]).await;
    let expected = "the places service gave up: runtime error: Query timed out";
    assert_eq!(failure(&answer), ("UNKNOWN_ERROR".into(), expected.into()));
}

#[tokio::test]
async fn a_service_that_asks_for_a_repetition_gets_it() {
    for api in ALL {
        let busy =
            ["429 Too Many Requests", "503 Service Unavailable"].map(|status| format!("{status}\r\nretry-after: 0"));
        let script = busy.iter().map(|status| http(status, "busy")).chain([http("200 OK", found(api))]);
        let (answer, requests) = search(api, script).await;
        assert_eq!(answer, shown(api));
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
    }
}

#[tokio::test]
async fn a_service_that_stays_busy_is_asked_no_more_often_than_allowed() {
    for api in ALL {
        let (answer, requests) = search(api, [http("429 Too Many Requests\r\nretry-after: 0", "busy")]).await;
        let expected = "the places service answered HTTP 429 Too Many Requests";
        assert_eq!(failure(&answer), ("OVER_QUERY_LIMIT".into(), expected.into()));
        assert_eq!(requests.len(), 3);
    }
}

#[tokio::test]
async fn without_a_time_the_repetition_comes_after_one_of_our_own() {
    let script = [http("504 Gateway Timeout", ""), http("200 OK", found(Api::Overpass))];
    let (answer, _) = search(Api::Overpass, script).await;
    assert_eq!(answer, shown(Api::Overpass));
}

#[tokio::test]
async fn a_repetition_that_would_come_too_late_is_not_waited_for() {
    for api in ALL {
        for when in ["86400", "Tue, 31 Dec 2199 23:59:59 GMT"] {
            let (answer, requests) = search(api, [http(&format!("503 Unavailable\r\nretry-after: {when}"), "")]).await;
            assert_eq!(failure(&answer).1, "the places service answered HTTP 503 Service Unavailable");
            assert_eq!(requests.len(), 1);
        }
    }
}

#[tokio::test]
async fn what_is_not_the_services_json_is_an_answer() {
    for api in ALL {
        for body in
            ["", "<html>It works!</html>", "[]", r#"{"places": 7, "results": 7, "elements": 7, "status": "OK"}"#]
        {
            let (status, message) = failure(&search(api, [http("200 OK", body)]).await.0);
            assert_eq!(status, "UNKNOWN_ERROR");
            let expected = "the places service answered with something else than its JSON: ";
            assert!(message.starts_with(expected), "{api:?} {body:?}: {message}");
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_an_answer() {
    for api in ALL {
        let (status, message) = failure(&search(api, [Behaviour::NeverEnds]).await.0);
        assert_eq!(status, "UNKNOWN_ERROR");
        assert_eq!(message, "the places service answered with more than 1048576 bytes");
    }
}

#[tokio::test]
async fn a_connection_lost_half_way_is_an_answer() {
    for api in ALL {
        let body = found(api);
        let half = http_text("200 OK", body);
        let half =
            Behaviour::Says(half[..half.len() - body.len() / 2].trim_end_matches(|c: char| !c.is_ascii()).into());
        for behaviour in [half, Behaviour::HangsUp, Behaviour::Says("HTTP/1.1 200 O".into())] {
            let (answer, requests) = search(api, [behaviour]).await;
            let (status, message) = failure(&answer);
            assert_eq!(status, "UNKNOWN_ERROR");
            assert!(message.starts_with("lost the places service: "), "{message}");
            assert_eq!(requests.len(), 1);
        }
    }
}

#[tokio::test]
async fn the_service_goes_on_after_any_failure() {
    for api in ALL {
        let server = Server::start([Behaviour::HangsUp, http("500 Oh", ""), http("200 OK", found(api))]).await;
        let service = open(api, &config(&server.address));
        for _ in 0..2 {
            failure(&text(service.search(&UCLA)).await);
        }
        assert_eq!(text(service.search(&UCLA)).await, shown(api));
    }
}

#[tokio::test]
async fn the_key_is_in_no_answer_even_when_the_service_repeats_it() {
    let error = format!(r#"{{"error": {{"status": "INVALID_ARGUMENT", "message": "API key {KEY} not valid."}}}}"#);
    let (answer, _) = search(Api::Google, [http("400 Bad Request", &error)]).await;
    assert!(answer.contains("API key [key] not valid."), "{answer}");

    let results = format!(r#"{{"results": [{{"photo": "https://example.org/?key={KEY}"}}], "status": "OK"}}"#);
    let (answer, _) = search(Api::GoogleLegacy, [http("200 OK", &results)]).await;
    assert!(answer.contains("https://example.org/?key=[key]"), "{answer}");

    for api in ALL {
        for behaviour in [Behaviour::HangsUp, http("404 Not Found", KEY), http("200 OK", &format!("\"{KEY}\""))] {
            let (answer, _) = search(api, [behaviour]).await;
            assert!(api == Api::Overpass || !answer.contains(KEY), "{answer}");
        }
        let service = open(api, &config("127.0.0.1:9"));
        assert!(!format!("{service:?}").contains(KEY));
    }
}

#[tokio::test]
async fn a_spent_budget_is_an_answer_and_no_call() {
    for api in ALL {
        let server = Server::start([http("429 Busy\r\nretry-after: 0", ""), http("200 OK", found(api))]).await;
        let service = open(api, &config::Places { budget: 3, ..config(&server.address) });
        // One search of two calls, one of one, and none is left.
        for _ in 0..2 {
            assert_eq!(text(service.search(&UCLA)).await, shown(api));
        }
        let expected = "all 3 calls to the places service that this run may make are made";
        let answer = text(service.search(&UCLA)).await;
        assert_eq!(failure(&answer), ("OVER_QUERY_LIMIT".into(), expected.into()));
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn searches_for_the_same_place_share_one_call() {
    for api in ALL {
        let permission = Arc::new(Notify::new());
        let waits = Behaviour::Waits(Arc::clone(&permission), http_text("200 OK", found(api)));
        let server = Server::start([waits, http("200 OK", nothing(api))]).await;
        let service = open(api, &config(&server.address));
        // `join!` polls each search once before the server can answer any.
        let (first, second, ()) =
            tokio::join!(text(service.search(&UCLA)), text(service.search(&UCLA)), async { permission.notify_one() });
        assert_eq!((first.as_str(), second.as_str()), (shown(api), shown(api)));
        assert_eq!(server.requests().len(), 1);
        let later = text(service.search(&UCLA)).await;
        assert!(later.contains("ZERO_RESULTS"), "what is over is not shared: {later}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn searches_for_different_places_are_made_each() {
    let server = Server::start([http("200 OK", nothing(Api::Google))]).await;
    let service = open(Api::Google, &config(&server.address));
    let elsewhere = Search { latitude: 35.0, ..UCLA };
    tokio::join!(service.search(&UCLA), service.search(&elsewhere));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_search_that_is_given_up_leaves_the_others_that_wait_for_it() {
    let permission = Arc::new(Notify::new());
    let waits = Behaviour::Waits(Arc::clone(&permission), http_text("200 OK", found(Api::Google)));
    let server = Server::start([waits]).await;
    let service = open(Api::Google, &config(&server.address));
    let mut first = Box::pin(service.search(&UCLA));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(service.search(&UCLA));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    permission.notify_one();
    assert_eq!(text(second).await, shown(Api::Google));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn overpass_refuses_at_once_what_its_pace_has_no_time_for() {
    let server = Server::start([http("200 OK", found(Api::Overpass))]).await;
    let mut network = Network::open(Api::Overpass, &config(&server.address), None).expect("needs no key");
    assert!(network.pace.is_some(), "the public servers ask for one");
    network.pace = Some(Mutex::new(Pace::new(Duration::from_secs(3600))));
    let network = Arc::new(network);
    assert_eq!(text(network.search(&UCLA)).await, shown(Api::Overpass));
    let answer = text(network.search(&UCLA)).await;
    let expected = "too many searches at a time for this service's pace";
    assert_eq!(failure(&answer), ("OVER_QUERY_LIMIT".into(), expected.into()));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_base_url_that_cannot_be_one_is_refused_with_the_reason() {
    let reasons = [
        ("places.example.org", "relative URL without a base"),
        ("ftp://example.org", "it must begin with `https://` or `http://`"),
        ("https://me:secret@example.org", "it must not hold a user name or a password"),
        ("https://example.org/?a=b", "it must end before any `?` or `#`"),
        ("http://example.org", "a key travels only over https, or to this machine"),
    ];
    for (url, reason) in reasons {
        let error = base_url(url, true).expect_err("refused").to_string();
        assert_eq!(error, format!("`base_url` under [places] is no address of a service: {reason}"));
    }
    for url in ["http://127.0.0.1:80/", "http://[::1]:80", "http://localhost", "https://example.org/a/b/"] {
        assert!(base_url(url, true).is_ok(), "{url}");
    }
    assert!(base_url("http://example.org", false).is_ok(), "without a key there is nothing to protect");
}

#[test]
fn googles_services_need_a_key_and_overpass_does_not() {
    for api in ALL {
        let opened = Network::open(api, &config::Places::default(), None);
        assert_eq!(matches!(opened, Err(PlacesError::NoKey)), api != Api::Overpass);
    }
}
