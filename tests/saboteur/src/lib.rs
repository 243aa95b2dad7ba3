//! A proxy-wasm filter that does harm on request: what a broken neighbour does to Sidegate, and how Envoy
//! answers when a module crashes.
//!
//! | header | what happens |
//! |---|---|
//! | `x-crash` | the VM traps |
//! | `x-write: PREFIX COUNT HEX` | the bytes of `HEX` are written to `COUNT` keys: `PREFIX0`, … |

use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType},
};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Saboteur));
}}

struct Saboteur;

impl Context for Saboteur {}

impl RootContext for Saboteur {
    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Self))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Saboteur {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        assert!(self.get_http_request_header("x-crash").is_none(), "asked to crash");
        if let Some(order) = self.get_http_request_header("x-write") {
            let mut words = order.split(' ');
            let mut word = || words.next().unwrap_or_default();
            let (prefix, count, bytes) = (word(), word(), bytes(word()));
            for place in 0..count.parse::<u32>().expect("a count") {
                self.set_shared_data(&format!("{prefix}{place}"), Some(&bytes), None).expect("shared data");
            }
        }
        Action::Continue
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("hexadecimal")).collect()
}
