// A bridge from HTTP to Kafka as people write it: the body of a POST becomes a record, and is
// answered once every in-sync replica has it. It knows nothing of images, and is what the gateway's
// way in is compared with.
//
//	bridge BROKERS TOPIC
//
// It listens on a free port of loopback and prints its address.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBodyBytes  = 20_000_000
	maxBatchBytes = maxBodyBytes + 1_000
	deadline      = 15 * time.Second
)

type bridge struct {
	client *kgo.Client
}

func (b bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	body, err := read(http.MaxBytesReader(w, r.Body, maxBodyBytes), r.ContentLength)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	defer cancel()
	record, err := b.client.ProduceSync(ctx, &kgo.Record{Value: body}).First()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Location", fmt.Sprintf("/%d:%d", record.Partition, record.Offset))
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}

// read takes a body at once where its length is known.
func read(body io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > maxBodyBytes {
		return io.ReadAll(body)
	}
	data := make([]byte, length)
	_, err := io.ReadFull(body, data)
	return data, err
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: bridge BROKERS TOPIC")
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.DefaultProduceTopic(os.Args[2]),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(maxBatchBytes),
		// A record has no key: without this, one partition is filled after the other.
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	if err := http.Serve(listener, bridge{client}); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
