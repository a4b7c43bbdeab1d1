vcl 4.1;

backend gateway {
    .host = "127.0.0.1";
    .port = "PORT";
    # Above the 20 s of a long poll.
    .first_byte_timeout = 30s;
}

sub vcl_backend_response {
    # Readers that wait together learn together that nothing came. By default, Varnish would stop combining their requests.
    if (beresp.status == 204) {
        set beresp.ttl = 1s;
        set beresp.grace = 0s;
        return (deliver);
    }
}
