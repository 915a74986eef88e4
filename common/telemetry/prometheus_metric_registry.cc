#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/utf8.h"
#include "common/telemetry/metric_registry.h"
#include "common/telemetry/metrics_server.h"
#include "prometheus/collectable.h"
#include "prometheus/counter.h"
#include "prometheus/exposer.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/text_serializer.h"

namespace tidemark {
namespace {

// Gets a process asked whether it lives: nothing but the answer counts.
class Nothing final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override { return {}; }
};

}  // namespace

struct Counter::Cell {
  prometheus::Counter metric;
};
struct Gauge::Cell {
  prometheus::Gauge metric;
};
struct Histogram::Cell {
  explicit Cell(const std::vector<double>& buckets) : metric(buckets) {}
  prometheus::Histogram metric;
};

void Counter::Add(double by) const {
  if (cell_ != nullptr) cell_->metric.Increment(by);
}
void Gauge::Set(double value) const {
  if (cell_ != nullptr) cell_->metric.Set(value);
}
void Gauge::Add(double by) const {
  if (cell_ != nullptr) cell_->metric.Increment(by);
}
void Histogram::Observe(double value) const {
  if (cell_ != nullptr) cell_->metric.Observe(value);
}

// The library's own registry destroys a metric that is removed under the hands of those who hold it; this one shares it
// with them.
class MetricRegistry::Impl final : public prometheus::Collectable {
 public:
  // The cell of these values, from `make` if there is none.
  template <class Cell, class Make>
  std::shared_ptr<Cell> Find(const Declaration& declared, prometheus::MetricType type,
                             std::span<const std::string_view> values, const Make& make) {
    absl::MutexLock lock(&mutex_);
    Family& family = families_[std::string(declared.name)];
    if (family.metrics.empty()) {
      family.help = declared.help;
      family.type = type;
      family.labels.assign(declared.labels.begin(), declared.labels.end());
    }
    Metric& metric = family.metrics[Texts(values)];
    if (metric.cell == nullptr) {
      auto cell = make();
      metric.collect = [at = cell.get()] { return at->metric.Collect(); };
      metric.cell = std::move(cell);
    }
    return std::static_pointer_cast<Cell>(metric.cell);
  }

  void Remove(std::string_view name, std::span<const std::string_view> values) {
    absl::MutexLock lock(&mutex_);
    if (const auto family = families_.find(name); family != families_.end()) {
      family->second.metrics.erase(Texts(values));
    }
  }

  int AddCallback(std::function<void()> callback) {
    absl::MutexLock lock(&callbacks_mutex_);
    callbacks_.emplace(++last_callback_, std::move(callback));
    return last_callback_;
  }
  void RemoveCallback(int id) {
    absl::MutexLock lock(&callbacks_mutex_);
    callbacks_.erase(id);
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    {
      absl::MutexLock lock(&callbacks_mutex_);
      for (const auto& [id, callback] : callbacks_) callback();
    }
    std::vector<prometheus::MetricFamily> collected;
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, family] : families_) {
      if (family.metrics.empty()) continue;
      prometheus::MetricFamily& out = collected.emplace_back();
      out.name = name;
      out.help = family.help;
      out.type = family.type;
      for (const auto& [values, metric] : family.metrics) {
        prometheus::ClientMetric& shown = out.metric.emplace_back(metric.collect());
        for (size_t i = 0; i < values.size(); ++i) shown.label.push_back({family.labels[i], values[i]});
      }
    }
    return collected;
  }

 private:
  struct Metric {
    std::shared_ptr<void> cell;
    std::function<prometheus::ClientMetric()> collect;
  };
  struct Family {
    std::string help;
    prometheus::MetricType type = prometheus::MetricType::Untyped;
    std::vector<std::string> labels;
    // By the values of the labels.
    std::map<std::vector<std::string>, Metric> metrics;
  };

  static std::vector<std::string> Texts(std::span<const std::string_view> values) {
    std::vector<std::string> texts;
    for (const std::string_view value : values) texts.push_back(ValidUtf8(value));
    return texts;
  }

  mutable absl::Mutex mutex_;
  std::map<std::string, Family, std::less<>> families_ ABSL_GUARDED_BY(mutex_);
  // Held while callbacks run, which take mutex_.
  mutable absl::Mutex callbacks_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  std::map<int, std::function<void()>> callbacks_ ABSL_GUARDED_BY(callbacks_mutex_);
  int last_callback_ ABSL_GUARDED_BY(callbacks_mutex_) = 0;
};

MetricRegistry::MetricRegistry() : impl_(std::make_shared<Impl>()) {}
MetricRegistry::~MetricRegistry() = default;

Counter MetricRegistry::GetCounter(const Declaration& family, std::span<const std::string_view> values) {
  Counter counter;
  counter.cell_ = impl_->Find<Counter::Cell>(family, prometheus::MetricType::Counter, values,
                                             [] { return std::make_shared<Counter::Cell>(); });
  return counter;
}

Gauge MetricRegistry::GetGauge(const Declaration& family, std::span<const std::string_view> values) {
  Gauge gauge;
  gauge.cell_ = impl_->Find<Gauge::Cell>(family, prometheus::MetricType::Gauge, values,
                                         [] { return std::make_shared<Gauge::Cell>(); });
  return gauge;
}

Histogram MetricRegistry::GetHistogram(const Declaration& family, std::span<const std::string_view> values) {
  Histogram histogram;
  histogram.cell_ = impl_->Find<Histogram::Cell>(family, prometheus::MetricType::Histogram, values, [&] {
    return std::make_shared<Histogram::Cell>(std::vector<double>(family.buckets.begin(), family.buckets.end()));
  });
  return histogram;
}

void MetricRegistry::RemoveMetric(std::string_view name, std::span<const std::string_view> values) {
  impl_->Remove(name, values);
}

MetricRegistry::CollectHook MetricRegistry::OnCollect(std::function<void()> callback) {
  CollectHook hook;
  hook.ending_ = std::shared_ptr<void>(
      nullptr, [id = impl_->AddCallback(std::move(callback)), registry = std::weak_ptr<Impl>(impl_)](void*) {
        if (const auto impl = registry.lock()) impl->RemoveCallback(id);
      });
  return hook;
}

std::string MetricRegistry::Text() const { return prometheus::TextSerializer().Serialize(impl_->Collect()); }

class MetricsServer::Impl {
 public:
  Impl(const std::string& address, std::shared_ptr<prometheus::Collectable> registry)
      : registry_(std::move(registry)), exposer_(address) {
    exposer_.RegisterCollectable(registry_, "/metrics");
    exposer_.RegisterCollectable(nothing_, "/healthz");
  }
  int port() const {
    const std::vector<int> ports = exposer_.GetListeningPorts();
    return ports.empty() ? 0 : ports.front();
  }

 private:
  // The exposer keeps no collectable alive.
  const std::shared_ptr<prometheus::Collectable> registry_;
  const std::shared_ptr<prometheus::Collectable> nothing_ = std::make_shared<Nothing>();
  prometheus::Exposer exposer_;
};

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& listen,
                                                                    const MetricRegistry& registry) {
  const size_t colon = listen.rfind(':');
  if (colon == listen.npos || colon == 0) {
    return absl::InvalidArgumentError(absl::StrCat("the metrics' address ", listen, " is not HOST:PORT"));
  }
  try {
    auto impl = std::make_unique<Impl>(listen, registry.impl_);
    std::string address = absl::StrCat(listen.substr(0, colon + 1), impl->port());
    return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl), std::move(address)));
  } catch (const std::exception&) {
    // The library does not say which of these it was.
    return absl::UnavailableError(absl::StrCat("cannot serve metrics on ", listen,
                                               ": the port is taken, or the address is none of this machine"));
  }
}

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl, std::string address)
    : impl_(std::move(impl)), address_(std::move(address)) {}
MetricsServer::~MetricsServer() = default;

}  // namespace tidemark
