//! Compiles `fleet/v1/*.proto` with protox: no protoc on the build machine.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=fleet");
    let files = protox::compile(["fleet/v1/ingest.proto"], ["."])?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallBuffers").compile_fds(files)?;
    Ok(())
}
