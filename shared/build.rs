fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["avl/v1/link.proto", "avl/v1/records.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
