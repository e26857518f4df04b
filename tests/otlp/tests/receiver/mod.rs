//! A receiver of OTLP metrics, over gRPC and HTTP at one address.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    common::v1::{KeyValue, any_value},
    metrics::v1::{Metric, NumberDataPoint, metric, number_data_point},
};
use prost::Message as _;
use tokio::{runtime::Runtime, sync::oneshot};

type Requests = Arc<Mutex<Vec<ExportMetricsServiceRequest>>>;

/// An OTLP receiver that runs until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    requests: Requests,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    /// Starts a receiver on a port that the kernel chooses.
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0".parse().expect("it is an address"))
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("it listens");
        listener.set_nonblocking(true).expect("sockets can be non-blocking");
        let requests = Requests::default();
        let (end, ended) = oneshot::channel();
        let kept = Arc::clone(&requests);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime: Runtime = runtime.expect("a runtime can be made");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, kept) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, requests, end: Some(end), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests that have arrived.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().expect("nobody panics with it").len()
    }

    /// All collections that have arrived, oldest first.
    pub(crate) fn collections(&self) -> Vec<Collection> {
        let requests = self.requests.lock().expect("nobody panics with it");
        requests.iter().map(Collection::of).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}

async fn serve(listener: TcpListener, requests: Requests) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
    loop {
        let (stream, _) = listener.accept().await.expect("there are descriptors");
        let grpc = TowerToHyperService::new(MetricsServiceServer::new(Store(requests.clone())));
        let requests = requests.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (grpc, requests) = (grpc.clone(), requests.clone());
            async move {
                if request.uri().path() == "/v1/metrics" {
                    let response = take(request, &requests).await;
                    return Ok::<_, Infallible>(response.map(tonic::body::Body::new));
                }
                let answer = hyper::service::Service::call(&grpc, request).await;
                Ok(answer.unwrap_or_else(|never| match never {}))
            }
        });
        tokio::spawn(async move {
            let connections = auto::Builder::new(TokioExecutor::new());
            // Errors of clients that disconnect during a request are ignored.
            let _ = connections.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Handles a request over HTTP.
async fn take(request: Request<Incoming>, requests: &Requests) -> Response<Full<Bytes>> {
    let is_protobuf =
        request.headers().get(CONTENT_TYPE).is_some_and(|it| it == "application/x-protobuf");
    assert!(is_protobuf, "{:?}", request.headers());
    let body = request.into_body().collect().await.expect("it comes whole").to_bytes();
    let request = ExportMetricsServiceRequest::decode(body).expect("it is one");
    requests.lock().expect("nobody panics with it").push(request);
    let answer = ExportMetricsServiceResponse::default().encode_to_vec();
    let response = Response::builder().header(CONTENT_TYPE, "application/x-protobuf");
    response.body(Full::new(answer.into())).expect("it is a response")
}

/// Stores requests that arrive over gRPC.
struct Store(Requests);

#[tonic::async_trait]
impl MetricsService for Store {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.0.lock().expect("nobody panics with it").push(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// The content of one request. Metrics are sorted by keys of the form `name{attribute="value",…}`.
#[derive(Clone, Debug)]
pub(crate) struct Collection {
    pub(crate) numbers: BTreeMap<String, f64>,
    /// The attributes of the sender.
    pub(crate) resource: BTreeMap<String, String>,
    /// The time of the collection, in nanoseconds since 1970.
    pub(crate) time: u64,
    /// Names of the metrics that only grow.
    pub(crate) monotonic: Vec<String>,
}

impl Collection {
    fn of(request: &ExportMetricsServiceRequest) -> Self {
        let [resource] = &request.resource_metrics[..] else { panic!("{request:?}") };
        let of_resource = resource.resource.as_ref().expect("it says who sends");
        let metrics = resource.scope_metrics.iter().flat_map(|scope| &scope.metrics);
        let mut collection = Self {
            numbers: BTreeMap::new(),
            resource: of_resource.attributes.iter().map(pair).collect(),
            time: 0,
            monotonic: Vec::new(),
        };
        for metric in metrics {
            collection.add(metric);
        }
        collection
    }

    fn add(&mut self, metric: &Metric) {
        let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        assert_eq!(sum.aggregation_temporality, 2, "cumulative: {metric:?}");
        if sum.is_monotonic {
            self.monotonic.push(metric.name.clone());
        }
        for point in &sum.data_points {
            assert!(point.start_time_unix_nano > 0 && point.flags == 0, "{point:?}");
            self.time = self.time.max(point.time_unix_nano);
            let attributes: BTreeMap<String, String> = point.attributes.iter().map(pair).collect();
            let attributes: Vec<String> =
                attributes.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
            let series = format!("{}{{{}}}", metric.name, attributes.join(","));
            assert_eq!(self.numbers.insert(series, number(point)), None, "{point:?} comes twice");
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a test")]
fn number(point: &NumberDataPoint) -> f64 {
    match point.value.as_ref().expect("it has a number") {
        number_data_point::Value::AsInt(number) => *number as f64,
        number_data_point::Value::AsDouble(number) => *number,
    }
}

fn pair(attribute: &KeyValue) -> (String, String) {
    let value = attribute.value.as_ref().and_then(|it| it.value.as_ref());
    let Some(any_value::Value::StringValue(text)) = value else { panic!("{attribute:?}") };
    (attribute.key.clone(), text.clone())
}
