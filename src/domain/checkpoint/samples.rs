//! Files for tests, as their writers make them.

/// A zip archive as torch writes it: its end, its end again and the record that ends it.
pub(crate) fn archive(bytes: usize) -> Vec<u8> {
    const LARGE_RECORDS_BYTES: usize = 76;
    let mut file = b"PK\x03\x04".to_vec();
    file.resize(bytes, b'w');
    let offset = u32::try_from(file.len()).unwrap();
    file.extend([b'd'; 40]);
    file.extend([b'l'; LARGE_RECORDS_BYTES]);
    file.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    file.extend(40_u32.to_le_bytes());
    file.extend(offset.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// A file of tensors with this many bytes of them.
pub(crate) fn tensors(bytes: usize) -> Vec<u8> {
    let header = format!(
        r#"{{"__metadata__":{{"format":"pt"}},"w":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 7);
    file
}
