-- It asks for no more than it needs, and takes less from an older server.
dofile(directory .. "/common.lua")

conn = mt.connect(socket)
must("negotiation", mt.negotiate(conn, nil, nil, nil))
for name, action in pairs({
    add = SMFIF_ADDHDRS, change = SMFIF_CHGHDRS, body = SMFIF_CHGBODY, rcpt = SMFIF_ADDRCPT,
    unrcpt = SMFIF_DELRCPT, quarantine = SMFIF_QUARANTINE, from = SMFIF_CHGFROM,
}) do
    expect("asks for the action " .. name, mt.test_action(conn, action))
end
for name, option in pairs({
    unknown = SMFIP_NOUNKNOWN, data = SMFIP_NODATA, eoh = SMFIP_NOEOH,
    quiet_header = SMFIP_NR_HDR, quiet_body = SMFIP_NR_BODY, skip = SMFIP_SKIP,
}) do
    expect("asks for the option " .. name, mt.test_option(conn, option))
end
for name, option in pairs({
    body = SMFIP_NOBODY, header = SMFIP_NOHDRS, connect = SMFIP_NR_CONN, rcpt = SMFIP_NR_RCPT,
}) do
    expect("doesn't ask for the option " .. name, not mt.test_option(conn, option))
end
mt.disconnect(conn)

conn = mt.connect(socket)
must("old negotiation", mt.negotiate(conn, 2, 0x7f, 0x1f))
must("connect", mt.conninfo(conn, "client.example", "192.0.2.1"))
replied(conn, SMFIR_CONTINUE, "connect")
told(conn, "add-top")
expect("an old server is given edits", mt.eom_check(conn, MT_HDRINSERT, "X-Top"))
replied(conn, SMFIR_CONTINUE, "end")
mt.disconnect(conn)
