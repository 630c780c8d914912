-- What all scripts share: a connection, its steps, and checks that name what is wrong.

function must(what, failed)
    if failed ~= nil then error(what .. ": " .. failed) end
end

function expect(what, condition)
    if not condition then error("not so: " .. what) end
end

function replied(conn, wanted, what)
    local got = mt.getreply(conn)
    if got ~= wanted then
        error(what .. ": replied " .. string.char(got) .. ", not " .. string.char(wanted))
    end
end

function connected(host, ip)
    local conn = mt.connect(socket)
    if conn == nil then error("cannot connect to " .. socket) end
    must("connect", mt.conninfo(conn, host or "client.example", ip or "192.0.2.1"))
    return conn
end

function mail(conn, sender, recipient)
    mt.macro(conn, SMFIC_MAIL, "i", "4XyZ")
    must("MAIL", mt.mailfrom(conn, sender or "<ann@office.example>", "SIZE=100"))
    replied(conn, SMFIR_CONTINUE, "MAIL")
    must("RCPT", mt.rcptto(conn, recipient or "<bert@partner.example>"))
    replied(conn, SMFIR_CONTINUE, "RCPT")
end

-- Sends a message that tells the plugin what to do, up to its end.
function told(conn, words)
    mail(conn)
    must("From", mt.header(conn, "From", "ann@office.example"))
    must("X-Old", mt.header(conn, "X-Old", "old"))
    must("X-Gone", mt.header(conn, "X-Gone", "first"))
    must("X-Gone", mt.header(conn, "X-Gone", "second"))
    must("X-Do", mt.header(conn, "X-Do", words))
    if not mt.test_option(conn, SMFIP_NOEOH) then must("end of header", mt.eoh(conn)) end
    must("body", mt.bodystring(conn, "a body\r\n"))
    must("end", mt.eom(conn))
end
