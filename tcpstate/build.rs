//! Copies the prebuilt BPF object to the path from which `probe::object` embeds it. For this
//! reason, a user who builds tcpstate needs only stable Rust. `cargo xtask bpf` rebuilds the
//! object. The environment variable `TCPSTATE_BPF_OBJECT` selects another object.

use std::{env, fs, path::Path};

/// The value `EM_BPF` of the field `e_machine`, which is at byte 18 of an ELF header.
const EM_BPF: [u8; 2] = 247_u16.to_le_bytes();

fn main() {
    println!("cargo::rerun-if-env-changed=TCPSTATE_BPF_OBJECT");
    let object = env::var("TCPSTATE_BPF_OBJECT").unwrap_or_else(|_| "bpf/tcpstate.bpf.o".into());
    println!("cargo::rerun-if-changed={object}");
    let bytes = fs::read(&object).unwrap_or_else(|error| panic!("read {object}: {error}"));
    assert!(
        bytes.starts_with(b"\x7fELF") && bytes.get(18..20) == Some(&EM_BPF),
        "{object} is no BPF object"
    );
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("tcpstate.bpf.o"), bytes).expect("OUT_DIR can be written");
}
