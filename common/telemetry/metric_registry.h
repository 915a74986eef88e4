#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tidemark {

// What a metric is, apart from its values: its name, what it says, and the names of its labels. All are declared in
// common/telemetry/metrics.h.
template <size_t kLabels>
struct CounterFamily {
  std::string_view name;
  std::string_view help;
  std::array<std::string_view, kLabels> labels = {};
};
template <size_t kLabels>
struct GaugeFamily {
  std::string_view name;
  std::string_view help;
  std::array<std::string_view, kLabels> labels = {};
};
template <size_t kLabels>
struct HistogramFamily {
  std::string_view name;
  std::string_view help;
  // Upper bounds, rising; the one at infinity is implied.
  std::span<const double> buckets;
  std::array<std::string_view, kLabels> labels = {};
};

// Handles of one metric: a family with the values of its labels. Cheap to copy; thread-safe; no call does I/O or waits
// for one that does. A handle may outlive its registry and the removal of its metric: what it is told then is seen by
// no one. A default handle counts nothing.
class Counter {
 public:
  // Nothing if `by` is below 0.
  void Add(double by = 1) const;

 private:
  friend class MetricRegistry;
  struct Cell;
  std::shared_ptr<Cell> cell_;
};

class Gauge {
 public:
  void Set(double value) const;
  void Add(double by) const;

 private:
  friend class MetricRegistry;
  struct Cell;
  std::shared_ptr<Cell> cell_;
};

class Histogram {
 public:
  void Observe(double value) const;

 private:
  friend class MetricRegistry;
  struct Cell;
  std::shared_ptr<Cell> cell_;
};

// The metrics of one process. Thread-safe.
class MetricRegistry {
 public:
  MetricRegistry();
  ~MetricRegistry();
  MetricRegistry(const MetricRegistry&) = delete;
  MetricRegistry& operator=(const MetricRegistry&) = delete;

  // The metric of these label values, in the order of the family's labels; made at the first call, and shown from then
  // on, a counter from 0. A value that is no UTF-8 is mended.
  template <size_t kLabels, class... Values>
  Counter Get(const CounterFamily<kLabels>& family, const Values&... values) {
    static_assert(sizeof...(Values) == kLabels, "one value for each label");
    return GetCounter({family.name, family.help, family.labels, {}}, std::array<std::string_view, kLabels>{values...});
  }
  template <size_t kLabels, class... Values>
  Gauge Get(const GaugeFamily<kLabels>& family, const Values&... values) {
    static_assert(sizeof...(Values) == kLabels, "one value for each label");
    return GetGauge({family.name, family.help, family.labels, {}}, std::array<std::string_view, kLabels>{values...});
  }
  template <size_t kLabels, class... Values>
  Histogram Get(const HistogramFamily<kLabels>& family, const Values&... values) {
    static_assert(sizeof...(Values) == kLabels, "one value for each label");
    return GetHistogram({family.name, family.help, family.labels, family.buckets},
                        std::array<std::string_view, kLabels>{values...});
  }

  // Shows the metric no more: what it told of is gone. Nothing if there is none.
  template <template <size_t> class Family, size_t kLabels, class... Values>
  void Remove(const Family<kLabels>& family, const Values&... values) {
    static_assert(sizeof...(Values) == kLabels, "one value for each label");
    RemoveMetric(family.name, std::array<std::string_view, kLabels>{values...});
  }

  // Ends its callback when it is destroyed, and waits for one under way.
  class CollectHook {
   public:
    CollectHook() = default;

   private:
    friend class MetricRegistry;
    std::shared_ptr<void> ending_;
  };
  // `callback` is called before every scrape, on the scraper's thread, to set gauges that mirror what someone else
  // holds. It must not wait for long, and not for the destruction of a hook. The hook may outlive the registry.
  [[nodiscard]] CollectHook OnCollect(std::function<void()> callback);

  // All there is, in Prometheus' text format: what a scrape gets.
  std::string Text() const;

 private:
  friend class MetricsServer;
  struct Declaration {
    std::string_view name;
    std::string_view help;
    std::span<const std::string_view> labels;
    std::span<const double> buckets;
  };
  Counter GetCounter(const Declaration& family, std::span<const std::string_view> values);
  Gauge GetGauge(const Declaration& family, std::span<const std::string_view> values);
  Histogram GetHistogram(const Declaration& family, std::span<const std::string_view> values);
  void RemoveMetric(std::string_view name, std::span<const std::string_view> values);

  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace tidemark
