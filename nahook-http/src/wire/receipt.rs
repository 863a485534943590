//! A receipt as the API shows it.

use nahook_core::Receipt;

/// Appends the receipt as JSON: `{"eventTypeId","deliveryIds","status":"accepted","failures"}` (contract, section 1).
///
/// It is written straight to bytes: ids are letters, digits and underscores, codes and messages are ours, so there is
/// nothing to escape.
pub fn write_receipt(receipt: &Receipt, out: &mut Vec<u8>) {
    // `"del_` and 26 digits, quotes and comma: 33 bytes a delivery.
    out.reserve(96 + receipt.deliveries().len() * 33);
    out.extend_from_slice(b"{\"eventTypeId\":\"");
    out.extend_from_slice(receipt.event_type().as_str().as_bytes());
    out.extend_from_slice(b"\",\"deliveryIds\":[");
    for (position, id) in receipt.delivery_ids().enumerate() {
        out.extend_from_slice(if position == 0 { b"\"" } else { b",\"" });
        id.write_to(out);
        out.push(b'"');
    }
    out.extend_from_slice(b"],\"status\":\"accepted\",\"failures\":[");
    for (position, failure) in receipt.failures().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"endpointId\":\"");
        out.extend_from_slice(failure.endpoint.as_str().as_bytes());
        out.extend_from_slice(b"\",\"code\":\"");
        out.extend_from_slice(failure.kind.code().as_bytes());
        out.extend_from_slice(b"\",\"message\":\"");
        out.extend_from_slice(failure.kind.message().as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
}
