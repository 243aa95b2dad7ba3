// Turns messages of the rate limit protocol into JSON and back, with the types that its authors publish.
//
//	messages decode request|response   reads a message, and prints it as JSON
//	messages encode request|response   reads JSON, and prints the message
//
// A field that the protocol does not have is an error.
package main

import (
	"fmt"
	"io"
	"os"

	ratelimit "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 2 {
		return fmt.Errorf("usage: messages decode|encode request|response")
	}
	message := map[string]proto.Message{
		"request":  &ratelimit.RateLimitRequest{},
		"response": &ratelimit.RateLimitResponse{},
	}[arguments[1]]
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var output []byte
	if arguments[0] == "encode" {
		if err := protojson.Unmarshal(input, message); err != nil {
			return err
		}
		output, err = proto.MarshalOptions{Deterministic: true}.Marshal(message)
	} else {
		if err := proto.Unmarshal(input, message); err != nil {
			return err
		}
		if err := known(message.ProtoReflect()); err != nil {
			return err
		}
		output, err = protojson.Marshal(message)
	}
	if err == nil {
		_, err = os.Stdout.Write(output)
	}
	return err
}

// known returns an error if the message, or one in it, has a field that the protocol does not have.
func known(message protoreflect.Message) (err error) {
	if unknown := message.GetUnknown(); len(unknown) > 0 {
		return fmt.Errorf("%s has the unknown field %x", message.Descriptor().FullName(), []byte(unknown))
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := 0; i < value.List().Len() && err == nil; i++ {
				err = known(value.List().Get(i).Message())
			}
		default:
			err = known(value.Message())
		}
		return err == nil
	})
	return err
}
