#pragma once
#include <Eigen/Core>

namespace m40llm::reference {

template <class S>
using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1>;
/// Row-major, as weights are stored: (outputs, inputs).
template <class S>
using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// In which order a sum is taken. In double it hardly matters; the three in float show how far rounding alone
/// can carry a whole model.
enum class Order {
  eigen,       ///< whatever Eigen's vectorised reduction does
  sequential,  ///< from the first to the last
  pairwise,    ///< halves, recursively
};

namespace detail {
template <class Expression>
typename Expression::Scalar pairwise_sum(const Expression& terms, Eigen::Index begin, Eigen::Index n) {
  if (n == 1) return terms.coeff(begin);
  return pairwise_sum(terms, begin, n / 2) + pairwise_sum(terms, begin + n / 2, n - n / 2);
}
}  // namespace detail

/// The sum of a column vector expression's elements.
template <class Expression>
typename Expression::Scalar sum(const Eigen::DenseBase<Expression>& terms, Order order = Order::eigen) {
  using S = typename Expression::Scalar;
  if (terms.size() == 0) return S(0);
  switch (order) {
    case Order::eigen:
      return terms.sum();
    case Order::pairwise:
      return detail::pairwise_sum(terms.derived(), 0, terms.size());
    default: {
      S total(0);
      for (Eigen::Index i = 0; i < terms.size(); ++i) total += terms.derived().coeff(i);
      return total;
    }
  }
}

}  // namespace m40llm::reference
