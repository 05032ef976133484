// Package external runs a program of its own as a filter: hashicorp/go-plugin
// over gRPC, one bidirectional stream for each SMTP session, octets of the
// message fetched on demand. The protocol is sdk/mtadpb; Go authors import sdk.
//
// The process is supervised: it is started with the pipeline, in an empty
// environment, spoken to over mutual TLS with keys made for this run, and
// started again when it dies, after a pause that grows. While it is down, the
// step's on_error decides. What a plugin's manifest does not declare it neither
// sees nor may change.
package external
