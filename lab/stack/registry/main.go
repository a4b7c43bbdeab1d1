// A schema registry for tests: srfake as a program, with what Confluent's registry does besides.
//
//   - a registration is answered with the schema's GUID and version, as of Confluent Platform 8
//   - Protobuf is answered as text, or as a base64 descriptor with ?format=serialized, however it was registered;
//     with -as-registered as it was registered, as Apicurio's does
//
// GET /-/requests counts the requests for each path.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/bufbuild/protocompile"
	"github.com/jhump/protoreflect/v2/protoprint"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8081", "address")
	authorization := flag.String("authorization", "", "the header that requests must have")
	secure := flag.String("tls", "", "address for TLS")
	certificate := flag.String("certificate", "", "PEM file for TLS")
	key := flag.String("key", "", "PEM file of its key")
	asRegistered := flag.Bool("as-registered", false, "answer Protobuf as it was registered")
	flag.Parse()
	registry := &registry{
		store:         srfake.NewRegistry(srfake.WithAuth(*authorization)),
		authorization: *authorization,
		asRegistered:  *asRegistered,
		asked:         map[string]int{},
	}
	if *secure != "" {
		go func() { log.Fatal(http.ListenAndServeTLS(*secure, *certificate, *key, registry)) }()
	}
	log.Fatal(http.ListenAndServe(*address, registry))
}

type registry struct {
	store         *srfake.Registry
	authorization string
	asRegistered  bool
	mutex         sync.Mutex
	asked         map[string]int
}

func (r *registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	if request.Method == "GET" && request.URL.Path == "/-/requests" {
		defer r.mutex.Unlock()
		_ = json.NewEncoder(w).Encode(r.asked)
		return
	}
	r.asked[request.URL.Path]++
	r.mutex.Unlock()
	r.stored(w, request)
}

// Answers with what is stored, in the forms of Confluent's registry.
func (r *registry) stored(w http.ResponseWriter, request *http.Request) {
	recorder := httptest.NewRecorder()
	r.store.Handler().ServeHTTP(recorder, request)
	answer := recorder.Body.Bytes()
	var found map[string]json.RawMessage
	if recorder.Code == http.StatusOK && json.Unmarshal(answer, &found) == nil {
		serialized := request.URL.Query().Get("format") == "serialized"
		subject, isRegistration := strings.CutSuffix(request.URL.Path, "/versions")
		switch {
		case request.Method == "POST" && isRegistration:
			var id int
			_ = json.Unmarshal(found["id"], &id)
			if schema, ok := r.byID(id, strings.TrimPrefix(subject, "/subjects/")); ok {
				answer, _ = json.Marshal(map[string]any{"id": id, "guid": schema.GUID, "version": schema.Version})
			}
		case string(found["schemaType"]) == `"PROTOBUF"` && (serialized || !r.asRegistered):
			var schema sr.Schema
			_ = json.Unmarshal(answer, &schema)
			text, err := r.protobuf(schema, serialized)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			found["schema"], _ = json.Marshal(text)
			answer, _ = json.Marshal(found)
		}
	}
	maps.Copy(w.Header(), recorder.Header())
	w.WriteHeader(recorder.Code)
	_, _ = w.Write(answer)
}

// The schema, of this subject or of any.
func (r *registry) byID(id int, subject string) (sr.SubjectSchema, bool) {
	recorder := httptest.NewRecorder()
	path := "/schemas/ids/" + strconv.Itoa(id) + "/versions?subject=" + url.QueryEscape(subject)
	request := httptest.NewRequest("GET", path, nil)
	request.Header.Set("Authorization", r.authorization)
	r.store.Handler().ServeHTTP(recorder, request)
	var uses []struct {
		Subject string
		Version int
	}
	if json.Unmarshal(recorder.Body.Bytes(), &uses) != nil || len(uses) == 0 {
		return sr.SubjectSchema{}, false
	}
	return r.store.GetSchema(uses[0].Subject, uses[0].Version)
}

// The schema as text, or as a base64 descriptor.
func (r *registry) protobuf(schema sr.Schema, serialized bool) (string, error) {
	files := map[string]string{root: schema.Schema}
	r.collect(schema.References, files)
	resolver := protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
		text, ok := files[name]
		if !ok {
			return protocompile.SearchResult{}, fs.ErrNotExist
		}
		descriptor := new(descriptorpb.FileDescriptorProto)
		bytes, err := base64.StdEncoding.DecodeString(text)
		if err != nil || proto.Unmarshal(bytes, descriptor) != nil {
			return protocompile.SearchResult{Source: strings.NewReader(text)}, nil
		}
		descriptor.Name = &name
		nameFields(descriptor.MessageType)
		return protocompile.SearchResult{Proto: descriptor}, nil
	})
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(resolver)}
	compiled, err := compiler.Compile(context.Background(), root)
	if err != nil {
		return "", err
	}
	if serialized {
		bytes, err := proto.Marshal(protodesc.ToFileDescriptorProto(compiled[0]))
		return base64.StdEncoding.EncodeToString(bytes), err
	}
	return new(protoprint.Printer).PrintProtoToString(compiled[0])
}

// Adds the names in JSON, which Python leaves out.
func nameFields(messages []*descriptorpb.DescriptorProto) {
	for _, message := range messages {
		for _, field := range message.Field {
			if field.JsonName == nil {
				name := underscores.ReplaceAllStringFunc(field.GetName(), strings.ToUpper)
				field.JsonName = proto.String(strings.ReplaceAll(name, "_", ""))
			}
		}
		nameFields(message.NestedType)
	}
}

var underscores = regexp.MustCompile(`_[a-z]`)

// The name of a schema that others would refer to by names of their own.
const root = "schema.proto"

// Adds the schemas that are referred to, directly or not.
func (r *registry) collect(references []sr.SchemaReference, files map[string]string) {
	for _, reference := range references {
		if schema, ok := r.store.GetSchema(reference.Subject, reference.Version); ok {
			files[reference.Name] = schema.Schema.Schema
			r.collect(schema.References, files)
		}
	}
}
