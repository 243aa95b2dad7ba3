//! The messages of `envoy.service.ratelimit.v3.RateLimitService`, with the fields that are sent and read
//! here.

/// The full name of the service.
pub(super) const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";

/// The name of its method.
pub(super) const METHOD: &str = "ShouldRateLimit";

/// `envoy.service.ratelimit.v3.RateLimitRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RateLimitRequest {
    /// Keeps the counters of several users of one service apart.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// What is counted.
    #[prost(message, repeated, tag = "2")]
    pub descriptors: Vec<Descriptor>,
    /// How much is counted with each descriptor that does not say; 0 stands for 1.
    #[prost(uint32, tag = "3")]
    pub hits_addend: u32,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Descriptor {
    /// The name of the counter.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<KeyValue>,
    /// The limit to apply instead of one that the service has configured.
    #[prost(message, optional, tag = "2")]
    pub limit: Option<Override>,
    /// How much is counted. On the wire, this is a `google.protobuf.UInt64Value`.
    #[prost(message, optional, tag = "3")]
    pub hits_addend: Option<u64>,
}

/// A part of the name of a counter.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    /// What the part is.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A limit that a descriptor brings with it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Override {
    /// How much one unit of time admits.
    #[prost(uint32, tag = "1")]
    pub requests_per_unit: u32,
    /// The unit, `envoy.type.v3.RateLimitUnit`.
    #[prost(int32, tag = "2")]
    pub unit: i32,
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RateLimitResponse {
    /// Over the limit if one of the descriptors is.
    #[prost(int32, tag = "1")]
    pub overall_code: i32,
    /// The state of each descriptor, in the order of the request.
    #[prost(message, repeated, tag = "2")]
    pub statuses: Vec<DescriptorStatus>,
    /// Headers for the caller of the proxy.
    #[prost(message, repeated, tag = "3")]
    pub response_headers_to_add: Vec<KeyValue>,
}

/// The state of one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct DescriptorStatus {
    /// Whether it is over its limit.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The limit that was applied; none if the service applied none.
    #[prost(message, optional, tag = "2")]
    pub current_limit: Option<Override>,
    /// How much the limit has left.
    #[prost(uint32, tag = "3")]
    pub limit_remaining: u32,
}

/// The code of what is within its limit.
pub const OK: i32 = 1;

/// The code of what is over its limit.
pub const OVER_LIMIT: i32 = 2;

#[cfg(test)]
mod tests {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use prost::Message as _;

    use super::*;

    #[test]
    fn a_request_has_the_bytes_that_the_protocol_says() {
        let descriptor = Descriptor {
            entries: vec![KeyValue { key: "k".to_owned(), value: "v".to_owned() }],
            limit: Some(Override { requests_per_unit: 300, unit: 2 }),
            hits_addend: Some(5),
        };
        let request =
            RateLimitRequest { domain: "d".to_owned(), descriptors: vec![descriptor], hits_addend: 3 };
        // Tag and wire type, length, content; the descriptor is field 2 of the request.
        let entry = "0a06 0a016b 120176";
        let limit = "1205 08ac02 1002";
        let hits = "1a02 0805";
        let expected = format!("0a0164 1213 {entry} {limit} {hits} 1803").replace(' ', "");
        assert_eq!(hex::encode(request.encode_to_vec()), expected);
        assert_eq!(RateLimitRequest::decode(&*request.encode_to_vec()), Ok(request));
    }

    #[test]
    fn fields_that_are_not_read_are_skipped() {
        let response = hex::decode("0802 120a 0802 1202 0807 1801 2200 3a00".replace(' ', "")).unwrap();
        let response = RateLimitResponse::decode(&*response).unwrap();
        assert_eq!(response.overall_code, OVER_LIMIT);
        let limit = Override { requests_per_unit: 7, unit: 0 };
        let status = DescriptorStatus { code: OVER_LIMIT, current_limit: Some(limit), limit_remaining: 1 };
        assert_eq!(response.statuses, [status]);
    }
}
